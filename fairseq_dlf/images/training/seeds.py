"""Runs of several seeds, at the learning rate that is best on dev."""

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from fairseq_dlf.core.files.replacement import replacing_folder
from fairseq_dlf.core.teaching.loop.collapse import CollapsedError
from fairseq_dlf.images.records.training import RunRecord
from fairseq_dlf.images.training.training import DivergedError

logger = logging.getLogger(__name__)

RATES_NAME = "rates"


class SeedRun(Protocol):
    """The run of a seed in a folder, where it can be resumed."""

    @property
    def best_accuracy(self) -> float:
        """The greatest value on dev so far."""

    def run(self) -> None:
        """Train to the end, without reading test."""

    def finish(self) -> RunRecord:
        """Train to the end, read test once with the best student, and write the record."""


# Makes the run of a seed in a folder.
RunMaker = Callable[[int, Path], SeedRun]


def run_seeds(runs: Mapping[float, RunMaker], seeds: Sequence[int], out: Path) -> list[RunRecord]:
    """Finish a run of every seed, at the learning rate that is best on dev.

    With several rates, the first seed is run at each of them, in `out`/rates, without reading
    test; the rate with the greatest value on dev is used for all seeds.

    Args:
        runs: what makes a run, by learning rate.
    """
    rate = next(iter(runs)) if len(runs) == 1 else _best_rate(runs, seeds[0], out)
    records = []
    for seed in seeds:
        folder = out / f"seed{seed}"
        if len(runs) > 1 and seed == seeds[0] and not folder.exists():
            _copy(out / RATES_NAME / f"{rate:g}", folder)
        records.append(runs[rate](seed, folder).finish())
    return records


def _best_rate(runs: Mapping[float, RunMaker], seed: int, out: Path) -> float:
    accuracies = {}
    for rate, made in runs.items():
        run = made(seed, out / RATES_NAME / f"{rate:g}")
        try:
            run.run()
        except (DivergedError, CollapsedError) as error:
            logger.warning(f"rate {rate:g}: {error}")
        accuracies[rate] = run.best_accuracy
    best = max(runs, key=lambda rate: accuracies[rate])
    listed = ", ".join(f"{rate:g}: {100 * (1 - value):.2f} %" for rate, value in accuracies.items())
    logger.info(f"dev error by rate, seed {seed}: {listed}; taking {best:g}")
    if best in (min(runs), max(runs)) and len(runs) > 2:
        logger.warning(f"the best rate {best:g} is at the edge of those tried: one beyond it may be better")
    return best


def _copy(source: Path, target: Path) -> None:
    """Copy a folder; a failure leaves no incomplete target behind."""
    with replacing_folder(target) as partial:
        shutil.copytree(source, partial, dirs_exist_ok=True)
