"""The paired test: BLEU as sacrebleu's, the right share of false alarms, real differences found."""

import numpy as np
import pytest
from sacrebleu.metrics import BLEU

from experiments.significance import corpus_bleu, p_value, packed, paired_interval, unpacked
from fairseq_dlf.core.support.errors import InputError
from tests.experiments.made import sentences

WORDS = ("the", "a", "man", "woman", "dog", "runs", "sits", "in", "on", "with", "red", "small", "street", "park")


def texts(number, seed, shortest=1):
    draw = np.random.default_rng(seed)
    return [" ".join(draw.choice(WORDS, draw.integers(shortest, 12))) for _ in range(number)]


def of_sacrebleu(hypotheses, references):
    return np.array(BLEU(lowercase=True)._extract_corpus_statistics(hypotheses, [references]), dtype=np.int64)


@pytest.mark.parametrize("number, seed", [(1, 0), (2, 1), (5, 2), (200, 3)])
def test_bleu_is_that_of_sacrebleu(number, seed):
    hypotheses, references = texts(number, seed), texts(number, seed + 100)
    wanted = BLEU(lowercase=True).corpus_score(hypotheses, [references]).score
    assert corpus_bleu(of_sacrebleu(hypotheses, references).sum(0)) == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize(
    "hypothesis, reference",
    [
        ("", "the dog"),
        ("cat", "dog"),
        ("dog", "dog"),
        ("the dog runs in", "the dog runs in"),
        ("a b c d e", "e d c b a"),
    ],
)
def test_bleu_of_odd_sentences(hypothesis, reference):
    wanted = BLEU(lowercase=True).corpus_score([hypothesis], [[reference]]).score
    assert corpus_bleu(of_sacrebleu([hypothesis], [reference]).sum(0)) == pytest.approx(wanted, abs=1e-9)


def test_what_is_kept_holds_everything():
    statistics = of_sacrebleu([*texts(50, 4), ""], [*texts(50, 5), "a man"])
    kept = packed(statistics)
    assert (kept.dtype, kept.shape) == (np.uint8, (51, 6))
    assert np.array_equal(unpacked(kept), statistics)


def test_foreign_statistics_are_refused():
    statistics = sentences(0.5)
    statistics[3, 9] += 1
    with pytest.raises(InputError, match="not those of n-grams"):
        packed(statistics)


def test_no_difference_gives_one():
    assert p_value(sentences(0.7), sentences(0.7), trials=100) == 1.0


def test_a_real_difference_is_found_and_a_larger_one_more_surely():
    base = sentences(0.60, 400, seed=1)
    better, best = (sentences(share, seed=7, lengths=base[:, 0]) for share in (0.66, 0.75))
    assert p_value(best, base, trials=2000) == 1 / 2001
    assert p_value(better, base, trials=2000) < 0.05
    assert p_value(base, better, trials=2000) == p_value(better, base, trials=2000)


def test_false_alarms_are_as_frequent_as_p_says():
    """Two systems of one distribution, 400 times: p < 0.05 in 20 of them, give or take three standard errors."""
    lengths = sentences(0.65, 100, seed=2)[:, 0]
    values = [
        p_value(
            *(sentences(0.65, seed=1000 + 2 * trial + each, lengths=lengths) for each in (0, 1)),
            trials=199,
            seed=trial,
        )
        for trial in range(400)
    ]
    error = 3 * (400 * 0.05 * 0.95) ** 0.5
    assert abs(sum(p <= 0.05 for p in values) - 20) <= error
    # Also elsewhere: half of the values lie below one half.
    assert abs(sum(p <= 0.5 for p in values) - 200) <= 3 * (400 * 0.25) ** 0.5


def test_unpaired_outputs_are_refused():
    with pytest.raises(InputError, match="200 and 100 sentences"):
        p_value(sentences(0.5), sentences(0.5, 100))
    other = sentences(0.5)
    other[0, 1] += 1
    with pytest.raises(InputError, match="different references"):
        p_value(sentences(0.5), other)
    with pytest.raises(InputError, match="trials"):
        p_value(sentences(0.5), sentences(0.5), trials=0)


def test_the_interval_of_no_difference_is_a_point():
    assert paired_interval(sentences(0.7), sentences(0.7)) == (0.0, 0.0)


def test_the_interval_holds_the_difference_and_shrinks_with_more_sentences():
    widths = []
    for number in (100, 1600):
        lengths = np.random.default_rng(1).integers(8, 21, number)
        better, worse = (sentences(share, seed=seed, lengths=lengths) for share, seed in ((0.75, 2), (0.6, 3)))
        low, high = paired_interval(better, worse)
        assert low < corpus_bleu(better.sum(0)) - corpus_bleu(worse.sum(0)) < high
        assert paired_interval(worse, better) == (pytest.approx(-high), pytest.approx(-low))
        widths.append(high - low)
    assert widths[1] == pytest.approx(widths[0] / 4, rel=0.4)


def test_the_interval_misses_no_difference_as_often_as_it_says():
    lengths = np.random.default_rng(1).integers(8, 21, 100)
    missed = 0
    for seed in range(100):
        first, second = (sentences(0.7, seed=2 * seed + more, lengths=lengths) for more in (0, 1))
        low, high = paired_interval(first, second, samples=200)
        missed += not low <= 0 <= high
    assert 1 <= missed <= 12


def test_an_interval_of_no_sample_or_of_other_sentences_is_refused():
    with pytest.raises(InputError, match="samples"):
        paired_interval(sentences(0.7), sentences(0.7), samples=0)
    with pytest.raises(InputError, match="compare outputs of one test set"):
        paired_interval(sentences(0.7), sentences(0.7)[:-1])
