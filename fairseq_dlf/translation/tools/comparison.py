"""Comparison of translation systems: their scores with signatures, and what outputs are flagged."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fairseq_dlf.translation.bleu.significance import signature_of_p
from fairseq_dlf.translation.tools.comparison_settings import ScoreSettings, System
from fairseq_dlf.translation.tools.outputs import read_outputs, require_comparable
from fairseq_dlf.translation.tools.run_score import Measured, RunScore, measured, run_score


@dataclass(frozen=True)
class SystemScore:
    """Scores of one system over its seeds; the standard deviations are None with a single seed."""

    name: str
    is_baseline: bool
    runs: list[RunScore]
    bleu_mean: float
    bleu_sd: float | None
    chrf_mean: float
    chrf_sd: float | None
    tokenised_bleu_mean: float
    tokenised_bleu_sd: float | None


@dataclass(frozen=True)
class Comparison:
    """All systems with the signatures of the columns.

    Attributes:
        flagged: numbers of the sentences that are flagged in at least one file, ascending.
    """

    sentences: int
    signature: str
    tokenised_signature: str
    chrf_signature: str
    p_signature: str
    flagged: list[int]
    systems: list[SystemScore]


def compare(
    systems: Sequence[System], baseline: str, references: Path, settings: ScoreSettings | None = None
) -> Comparison:
    """Score every file of every system and test it against the baseline.

    The i-th file of a system is tested against the i-th of the baseline, so
    files of the same training seed belong at the same place.

    Raises:
        MissingFileError: a file is not there.
        InputError: baseline not among the systems, numbers of files differ, or
            a file that does not fit the references.
    """
    settings = settings or ScoreSettings()
    require_comparable(systems, baseline)
    systems = sorted(systems, key=lambda system: system.name != baseline)
    outputs = read_outputs(systems, references, settings.bpe, settings.target_lang)
    runs = {
        system.name: [
            measured(file, generated.hypotheses, outputs, settings)
            for file, generated in zip(system.files, outputs.generated[system.name], strict=True)
        ]
        for system in systems
    }
    flagged = _flagged(run for files in runs.values() for run in files)
    unflagged = sorted(set(range(len(outputs.references))) - set(flagged))
    first = runs[baseline][0]
    return Comparison(
        sentences=len(outputs.references),
        signature=first.bleu.signature,
        tokenised_signature=first.tokenised_signature,
        chrf_signature=first.chrf_signature,
        p_signature=str(signature_of_p(settings.shuffles, settings.seed)),
        flagged=flagged,
        systems=[_system_score(name, baseline, runs, unflagged, settings) for name in runs],
    )


def _flagged(runs: Iterable[Measured]) -> list[int]:
    return sorted({number for run in runs for number in (*run.flags.loops, *run.flags.long)})


def _system_score(
    name: str, baseline: str, files: dict[str, list[Measured]], unflagged: list[int], settings: ScoreSettings
) -> SystemScore:
    is_baseline = name == baseline
    runs = [
        run_score(run, None if is_baseline else other, unflagged, settings)
        for run, other in zip(files[name], files[baseline], strict=True)
    ]
    bleu, chrf, tokenised = ([getattr(run, each) for run in runs] for each in ("bleu", "chrf", "tokenised_bleu"))
    return SystemScore(
        name=name,
        is_baseline=is_baseline,
        runs=runs,
        bleu_mean=statistics.fmean(bleu),
        bleu_sd=_sd(bleu),
        chrf_mean=statistics.fmean(chrf),
        chrf_sd=_sd(chrf),
        tokenised_bleu_mean=statistics.fmean(tokenised),
        tokenised_bleu_sd=_sd(tokenised),
    )


def _sd(scores: Sequence[float]) -> float | None:
    return statistics.stdev(scores) if len(scores) > 1 else None
