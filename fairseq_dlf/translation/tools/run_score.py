"""The scores of one file of a system: what it has by itself, and beside the baseline's file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sacrebleu.metrics import BLEU, CHRF

from fairseq_dlf.translation.bleu.significance import p_value
from fairseq_dlf.translation.bleu.statistics import Statistics, brevity_penalty, corpus_bleu, sentence_statistics
from fairseq_dlf.translation.tools.comparison_settings import ScoreSettings
from fairseq_dlf.translation.tools.flags import Flags, flags_of
from fairseq_dlf.translation.tools.interval import ResampledBleu, resampled_bleu
from fairseq_dlf.translation.tools.outputs import Outputs, detokenised


@dataclass(frozen=True)
class RunScore:
    """Scores of one file; BLEU, its brevity penalty and length ratio, and chrF are detokenised and lower-cased.

    Attributes:
        p_value: of the difference in BLEU from the baseline's file, two-sided; None for the baseline.
        flags: of this file's outputs.
        bleu_without_flagged: of the sentences that are flagged in no file of any system; None if there are none.
        p_without_flagged: of the same sentences; None for the baseline, too.
    """

    file: str
    bleu: float
    brevity_penalty: float
    length_ratio: float
    bootstrap_mean: float
    interval_95: tuple[float, float]
    p_value: float | None
    chrf: float
    tokenised_bleu: float
    flags: Flags
    bleu_without_flagged: float | None
    p_without_flagged: float | None


class Measured(NamedTuple):
    """What a file has by itself, with sacrebleu's signatures.

    Attributes:
        statistics: of its sentences for detokenised BLEU, [sentences, 10].
    """

    file: Path
    bleu: ResampledBleu
    chrf: float
    chrf_signature: str
    tokenised_bleu: float
    tokenised_signature: str
    statistics: Statistics
    flags: Flags


def measured(file: Path, hypotheses: Sequence[str], outputs: Outputs, settings: ScoreSettings) -> Measured:
    """Score a file by itself.

    Args:
        file: its name.
        hypotheses: tokenised sentences.
        outputs: holds what they are scored against.
    """
    plain = detokenised(hypotheses, settings.target_lang)
    chrf, tokenised = CHRF(lowercase=True), BLEU(tokenize="none", force=True)
    return Measured(
        file=file,
        bleu=resampled_bleu(plain, outputs.references, settings.bootstrap, settings.seed),
        chrf=chrf.corpus_score(plain, [outputs.references]).score,
        chrf_signature=str(chrf.get_signature()),
        tokenised_bleu=tokenised.corpus_score(hypotheses, [outputs.targets]).score,
        tokenised_signature=str(tokenised.get_signature()),
        statistics=sentence_statistics(BLEU(lowercase=True), plain, outputs.references),
        flags=flags_of(hypotheses, outputs.targets),
    )


def run_score(run: Measured, baseline: Measured | None, unflagged: list[int], settings: ScoreSettings) -> RunScore:
    """Return all scores of a file.

    Args:
        run: what it has by itself.
        baseline: what the baseline's file has by itself; None if that is this file.
        unflagged: numbers of the sentences that are flagged nowhere.
    """
    sums = run.statistics.sum(0)
    everything = list(range(len(run.statistics)))
    mean, half_width = run.bleu.mean, run.bleu.half_width
    return RunScore(
        file=str(run.file),
        bleu=run.bleu.score,
        brevity_penalty=float(brevity_penalty(sums)),
        length_ratio=float(sums[0] / sums[1]),
        bootstrap_mean=mean,
        interval_95=(mean - half_width, mean + half_width),
        p_value=_p_value(run, baseline, everything, settings),
        chrf=run.chrf,
        tokenised_bleu=run.tokenised_bleu,
        flags=run.flags,
        bleu_without_flagged=float(corpus_bleu(run.statistics[unflagged].sum(0))) if unflagged else None,
        p_without_flagged=_p_value(run, baseline, unflagged, settings),
    )


def _p_value(run: Measured, baseline: Measured | None, sentences: list[int], settings: ScoreSettings) -> float | None:
    """Return the p of some sentences; None where there is nothing to compare."""
    if baseline is None or not sentences:
        return None
    return p_value(run.statistics[sentences], baseline.statistics[sentences], settings.shuffles, settings.seed)
