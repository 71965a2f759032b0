"""Scores against sacrebleu's own, and what cannot be compared."""

import os

import pytest

pytest.importorskip("fairseq")

from sacrebleu.metrics import BLEU  # noqa: E402
from sacrebleu.significance import PairedTest  # noqa: E402

from fairseq_dlf.core.support.errors import InputError  # noqa: E402
from fairseq_dlf.translation.tools.comparison import ScoreSettings, System, compare  # noqa: E402
from tests.translation.tools.made_outputs import GOOD, REFERENCES, TOKENS, generated_text, spoil  # noqa: E402


def run(references, baseline="cross-entropy", settings=None, **systems):
    """Compare systems; 'cross_entropy' in a keyword stands for 'cross-entropy'."""
    named = [System(name.replace("_", "-"), files) for name, files in systems.items()]
    return compare(named, baseline, references, settings or ScoreSettings(bootstrap=20))


def test_perfect_output_scores_100_in_both_columns(write, references):
    perfect, worse = write("a", generated_text(TOKENS)), write("b", generated_text(spoil(TOKENS, 2)))
    result = run(references, taught=(perfect,), cross_entropy=(worse,), settings=ScoreSettings(bootstrap=50))
    baseline, taught = result.systems
    assert (baseline.name, baseline.is_baseline, baseline.runs[0].p_value) == ("cross-entropy", True, None)
    assert taught.bleu_mean == pytest.approx(100) and taught.tokenised_bleu_mean == pytest.approx(100)
    assert baseline.bleu_mean == pytest.approx(
        BLEU(lowercase=True).corpus_score(spoil(REFERENCES, 2), [REFERENCES]).score
    )
    assert 0 < taught.runs[0].p_value < 0.05 and taught.runs[0].interval_95 == pytest.approx((100, 100))


def test_p_value_and_interval_are_those_of_sacrebleu(write, references, monkeypatch):
    spoiled = {"cross-entropy": spoil(REFERENCES, 3), "other": spoil(REFERENCES, 4)}
    files = {
        name.replace("-", "_"): (write(name, generated_text(spoil(TOKENS, every))),)
        for name, every in (("cross-entropy", 3), ("other", 4))
    }
    found = run(references, settings=ScoreSettings(bootstrap=40, seed=3), **files).systems
    monkeypatch.setenv("SACREBLEU_SEED", "3")
    test = PairedTest(list(spoiled.items()), {"BLEU": BLEU(lowercase=True)}, [REFERENCES], "bs", n_samples=40)
    for system, wanted in zip(found, test()[1]["BLEU"], strict=True):
        score = system.runs[0]
        assert (score.bleu, score.bootstrap_mean, score.p_value) == (wanted.score, wanted.mean, wanted.p_value)
        assert score.interval_95 == (wanted.mean - wanted.ci, wanted.mean + wanted.ci)
        assert wanted.ci > 1
    assert found[1].runs[0].p_value > 0.01


def test_signatures_are_those_of_sacrebleu(write, references):
    result = run(references, cross_entropy=(write("a", GOOD),), settings=ScoreSettings(bootstrap=20, seed=7))
    assert result.signature.startswith("nrefs:1|bs:20|seed:7|case:lc|eff:no|tok:13a|smooth:exp|version:")
    assert result.tokenised_signature.startswith("nrefs:1|case:mixed|eff:no|tok:none|smooth:exp|version:")


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
    tokenised = [run_score.tokenised_bleu for run_score in taught.runs]
    assert taught.tokenised_bleu_sd == pytest.approx((tokenised[1] - tokenised[0]) / 2**0.5)
    assert all(0 < run_score.p_value <= 1 for run_score in taught.runs)


@pytest.mark.parametrize("before", ["99", None])
def test_seed_of_the_resampling_leaves_the_environment_alone(write, references, monkeypatch, before):
    monkeypatch.delenv("SACREBLEU_SEED", raising=False)
    if before is not None:
        monkeypatch.setenv("SACREBLEU_SEED", before)
    files = {
        "cross_entropy": (write("a", generated_text(spoil(TOKENS, 2))),),
        "other": (write("b", generated_text(spoil(TOKENS, 3))),),
    }
    first, again, another = (
        run(references, settings=ScoreSettings(bootstrap=30, seed=seed), **files) for seed in (1, 1, 2)
    )
    assert first == again
    assert first.systems[1].runs[0].interval_95 != another.systems[1].runs[0].interval_95
    assert os.environ.get("SACREBLEU_SEED") == before


def test_other_targets_are_named(write, references):
    other = write("other", generated_text(TOKENS, spoil(TOKENS, 4)))
    with pytest.raises(InputError, match="T lines of .*other differ from those of .*good.*same data-bin"):
        run(references, cross_entropy=(write("good", GOOD),), taught=(other,))


def test_references_in_another_order_are_named(write):
    reverse = write("refs", "\n".join(reversed(REFERENCES)) + "\n")
    with pytest.raises(InputError, match="do not match the references.*corpus order") as caught:
        run(reverse, cross_entropy=(write("good", GOOD),))
    assert caught.value.setting == "bpe"


def test_systems_must_have_one_name_and_as_many_seeds_as_the_baseline(write, references):
    file = write("good", GOOD)
    with pytest.raises(InputError, match="taught has 2 files, the baseline 1"):
        run(references, cross_entropy=(file,), taught=(file, file))
    with pytest.raises(InputError, match="named twice.*NAME=FILE1,FILE2"):
        compare([System("a", (file,)), System("a", (file,))], "a", references)
    with pytest.raises(InputError, match="baseline 'nobody' is not among.*cross-entropy"):
        run(references, baseline="nobody", cross_entropy=(file,))
