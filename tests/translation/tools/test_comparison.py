"""Systems side by side."""

import pytest

pytest.importorskip("fairseq")

from sacrebleu.metrics import BLEU  # noqa: E402

from fairseq_dlf.translation.tools.comparison import compare  # noqa: E402
from fairseq_dlf.translation.tools.comparison_settings import ScoreSettings, System  # noqa: E402
from tests.translation.tools.made_outputs import GOOD, REFERENCES, TOKENS, generated_text, spoil  # noqa: E402

LOOP = "the dog runs " * 12


def run(references, baseline="cross-entropy", settings=None, **systems):
    """Compare systems; 'cross_entropy' in a keyword stands for 'cross-entropy'."""
    named = [System(name.replace("_", "-"), files) for name, files in systems.items()]
    return compare(named, baseline, references, settings or ScoreSettings(bootstrap=20, shuffles=200))


def test_perfect_output_scores_100_in_both_columns(write, references):
    perfect, worse = write("a", generated_text(TOKENS)), write("b", generated_text(spoil(TOKENS, 2)))
    result = run(
        references, taught=(perfect,), cross_entropy=(worse,), settings=ScoreSettings(bootstrap=50, shuffles=2000)
    )
    baseline, taught = result.systems
    assert (baseline.name, baseline.is_baseline, baseline.runs[0].p_value) == ("cross-entropy", True, None)
    assert taught.bleu_mean == pytest.approx(100) and taught.tokenised_bleu_mean == pytest.approx(100)
    assert baseline.bleu_mean == pytest.approx(
        BLEU(lowercase=True).corpus_score(spoil(REFERENCES, 2), [REFERENCES]).score
    )
    # Four of eight sentences differ: of the 16 ways to swap them, two differ as much.
    assert taught.runs[0].p_value == pytest.approx(2 / 16, abs=0.03)
    assert taught.runs[0].interval_95 == pytest.approx((100, 100))


def test_signatures_hold_the_settings(write, references):
    settings = ScoreSettings(bootstrap=20, shuffles=30, seed=7)
    result = run(references, cross_entropy=(write("a", GOOD),), settings=settings)
    assert result.signature.startswith("nrefs:1|bs:20|seed:7|case:lc|eff:no|tok:13a|smooth:exp|version:")
    assert result.tokenised_signature.startswith("nrefs:1|case:mixed|eff:no|tok:none|smooth:exp|version:")
    assert result.chrf_signature.startswith("nrefs:1|case:lc|eff:yes|nc:6|nw:0|space:no|version:")
    assert "|sides:2|shuffles:30|seed:7|" in result.p_signature


@pytest.mark.parametrize("kinds", ["STHDP", "STHP"], ids=["H and D lines", "H lines only"])
def test_order_of_ids_bpe_and_n_best_change_nothing(write, references, kinds):
    plain = write("a", generated_text(spoil(TOKENS, 3)))
    other = write("b", generated_text(spoil(TOKENS, 3), seed=5, bpe=True, kinds=kinds))
    result = run(references, cross_entropy=(plain,), other=(other,))
    assert result.systems[1].bleu_mean == result.systems[0].bleu_mean < 100
    assert result.systems[1].tokenised_bleu_mean == result.systems[0].tokenised_bleu_mean


def test_odd_separators_score_as_any_character(write):
    odd = [*REFERENCES[:3], "a house\u2028is here, near the\x85water of a lake.", *REFERENCES[4:]]
    tokens = [*TOKENS[:3], "a house is here , near the water of a lake .", *TOKENS[4:]]
    output = write("a", generated_text(tokens, tokens))
    result = run(write("refs", "\n".join(odd) + "\n"), cross_entropy=(output,))
    assert result.sentences == 8 and result.systems[0].bleu_mean == pytest.approx(100)


def test_several_seeds_give_mean_deviation_and_a_p_value_each(write, references):
    first = tuple(write(f"a{k}", generated_text(spoil(TOKENS, k))) for k in (1, 2))
    second = tuple(write(f"b{k}", generated_text(spoil(TOKENS, k))) for k in (3, 4))
    taught = run(references, cross_entropy=first, taught=second).systems[1]
    scores = [run_score.bleu for run_score in taught.runs]
    assert len(scores) == 2 and scores[0] < scores[1]
    assert taught.bleu_mean == pytest.approx(sum(scores) / 2)
    assert taught.bleu_sd == pytest.approx((scores[1] - scores[0]) / 2**0.5)
    assert taught.chrf_sd == pytest.approx(abs(taught.runs[1].chrf - taught.runs[0].chrf) / 2**0.5)
    tokenised = [run_score.tokenised_bleu for run_score in taught.runs]
    assert taught.tokenised_bleu_sd == pytest.approx((tokenised[1] - tokenised[0]) / 2**0.5)
    assert all(0 < run_score.p_value <= 1 for run_score in taught.runs)


def test_sentences_that_are_flagged_in_one_file_are_left_out_of_all(write, references):
    looping, plain = [LOOP, *TOKENS[1:]], spoil(TOKENS, 2)
    first = (write("a1", generated_text(looping)), write("a2", generated_text(plain)))
    second = (write("b1", generated_text(plain)), write("b2", generated_text([*TOKENS[:-1], LOOP])))
    result = run(references, cross_entropy=first, taught=second)
    assert result.flagged == [0, 7]
    assert [[each.flags.loops for each in system.runs] for system in result.systems] == [[[0], []], [[], [7]]]
    baseline, taught = ([each.bleu_without_flagged for each in system.runs] for system in result.systems)
    assert baseline[0] == taught[1] == pytest.approx(100)
    # Every other sentence of these is spoiled, the first of them left out.
    assert baseline[1] == taught[0] < 100
    assert taught[0] > result.systems[1].runs[0].bleu


def test_a_loop_that_makes_a_difference_is_not_one_without_it(write, references):
    """The trap that flags are for: equal systems, of which one loops once."""
    equal = spoil(TOKENS, 3)
    files = {"cross_entropy": [LOOP * 5, *equal[1:]], "taught": equal}
    baseline, taught = run(references, **{name: (write(name, generated_text(files[name])),) for name in files}).systems
    assert taught.bleu_mean > baseline.bleu_mean + 10
    assert baseline.runs[0].length_ratio > 1.5 and taught.runs[0].length_ratio == pytest.approx(1)
    assert taught.runs[0].bleu_without_flagged == baseline.runs[0].bleu_without_flagged
    assert taught.runs[0].p_without_flagged == 1
