"""Students of several seeds, at the learning rate that is best on dev."""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fairseq_dlf.core.files.replacement import replacing_folder
from fairseq_dlf.images.data.splits import ImageData
from fairseq_dlf.images.records.training import RunRecord
from fairseq_dlf.images.training.settings import TrainingSettings
from fairseq_dlf.images.training.training import DivergedError, Training

logger = logging.getLogger(__name__)

RATES_NAME = "rates"


def train_seeds(
    data: ImageData, settings: TrainingSettings, rates: Sequence[float], seeds: Sequence[int], out: Path
) -> list[RunRecord]:
    """Train a student for every seed, at the learning rate that is best on dev.

    With several rates, the first seed is trained at each of them, in `out`/rates, without reading
    test; the rate with the greatest dev accuracy is used for all seeds.
    """
    rate = rates[0] if len(rates) == 1 else _best_rate(data, settings, rates, seeds[0], out)
    chosen = replace(settings, student=replace(settings.student, learning_rate=rate))
    records = []
    for seed in seeds:
        folder = out / f"seed{seed}"
        if len(rates) > 1 and seed == seeds[0] and not folder.exists():
            _copy(out / RATES_NAME / f"{rate:g}", folder)
        records.append(Training(data, chosen, seed, folder).finish())
    return records


def _best_rate(data: ImageData, settings: TrainingSettings, rates: Sequence[float], seed: int, out: Path) -> float:
    accuracies = {}
    # All settings are built first, so that a wrong rate is noticed before the others are trained.
    tried = {rate: replace(settings, student=replace(settings.student, learning_rate=rate)) for rate in rates}
    for rate in rates:
        training = Training(data, tried[rate], seed, out / RATES_NAME / f"{rate:g}")
        try:
            training.run()
        except DivergedError as error:
            logger.warning(str(error))
        accuracies[rate] = training.state.best_accuracy
    best = max(rates, key=lambda rate: accuracies[rate])
    listed = ", ".join(f"{rate:g}: {100 * (1 - value):.2f} %" for rate, value in accuracies.items())
    logger.info(f"dev error by rate, seed {seed}: {listed}; taking {best:g}")
    if best in (min(rates), max(rates)) and len(rates) > 2:
        logger.warning(f"the best rate {best:g} is at the edge of those tried: one beyond it may be better")
    return best


def _copy(source: Path, target: Path) -> None:
    """Copy a folder; a failure leaves no incomplete target behind."""
    with replacing_folder(target) as partial:
        shutil.copytree(source, partial, dirs_exist_ok=True)
