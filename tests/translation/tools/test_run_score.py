"""Scores of a file, beside sacrebleu's, and what flagged sentences change."""

from pathlib import Path

import pytest

pytest.importorskip("fairseq")

from sacrebleu.metrics import BLEU, CHRF  # noqa: E402

from fairseq_dlf.translation.bleu.significance import p_value  # noqa: E402
from fairseq_dlf.translation.tools.comparison_settings import ScoreSettings  # noqa: E402
from fairseq_dlf.translation.tools.flags import Flags  # noqa: E402
from fairseq_dlf.translation.tools.outputs import Outputs, detokenised  # noqa: E402
from fairseq_dlf.translation.tools.run_score import measured, run_score  # noqa: E402
from tests.translation.tools.made_outputs import REFERENCES, TOKENS, spoil  # noqa: E402

OUTPUTS = Outputs({}, TOKENS, REFERENCES)
SETTINGS = ScoreSettings(bootstrap=20, shuffles=50, seed=3)
ALL = list(range(len(TOKENS)))
LOOP = "the dog runs " * 12


def measure(hypotheses):
    return measured(Path("a.txt"), hypotheses, OUTPUTS, SETTINGS)


def test_scores_and_signatures_are_those_of_sacrebleu():
    hypotheses = [line.rsplit(" ", 3)[0] for line in spoil(TOKENS, 2)]
    run = measure(hypotheses)
    score, plain = run_score(run, None, ALL, SETTINGS), detokenised(hypotheses, "en")
    wanted = BLEU(lowercase=True).corpus_score(plain, [REFERENCES])
    assert (score.bleu, score.tokenised_bleu) == (
        wanted.score,
        BLEU(tokenize="none", force=True).corpus_score(hypotheses, [TOKENS]).score,
    )
    assert (score.brevity_penalty, score.length_ratio) == (pytest.approx(wanted.bp), pytest.approx(wanted.ratio))
    assert 0.5 < score.brevity_penalty < score.length_ratio < 1
    assert score.chrf == CHRF(lowercase=True).corpus_score(plain, [REFERENCES]).score
    assert score.interval_95[0] < score.bootstrap_mean < score.interval_95[1]
    assert run.bleu.signature.startswith("nrefs:1|bs:20|seed:3|case:lc|")
    assert run.tokenised_signature.startswith("nrefs:1|case:mixed|eff:no|tok:none|")
    assert run.chrf_signature.startswith("nrefs:1|case:lc|eff:yes|nc:6|nw:0|")


def test_p_is_that_of_the_statistics_with_the_settings():
    run, baseline = measure(spoil(TOKENS, 3)), measure(spoil(TOKENS, 2))
    score = run_score(run, baseline, ALL, SETTINGS)
    assert score.p_value == p_value(run.statistics, baseline.statistics, trials=50, seed=3)
    assert score.p_without_flagged == score.p_value and score.bleu_without_flagged == pytest.approx(score.bleu)


def test_the_baseline_has_no_p():
    score = run_score(measure(TOKENS), None, ALL, SETTINGS)
    assert (score.p_value, score.p_without_flagged) == (None, None)


def test_bleu_and_p_without_flagged_sentences_are_those_of_the_others():
    run, baseline, kept = measure([*spoil(TOKENS, 3)[:-1], LOOP]), measure(spoil(TOKENS, 2)), ALL[:-1]
    score = run_score(run, baseline, kept, SETTINGS)
    rest = detokenised(spoil(TOKENS, 3)[:-1], "en")
    assert score.flags == Flags(loops=[len(TOKENS) - 1], long=[len(TOKENS) - 1])
    assert score.bleu_without_flagged == pytest.approx(BLEU(lowercase=True).corpus_score(rest, [REFERENCES[:-1]]).score)
    assert score.bleu_without_flagged > score.bleu + 10
    assert score.p_without_flagged == p_value(run.statistics[:-1], baseline.statistics[:-1], trials=50, seed=3)


def test_without_any_sentence_left_there_is_no_bleu():
    score = run_score(measure([LOOP] * len(TOKENS)), measure(TOKENS), [], SETTINGS)
    assert (score.bleu_without_flagged, score.p_without_flagged) == (None, None)
    assert score.p_value is not None
