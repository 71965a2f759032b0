"""Figures that a criterion keeps across a resume in fairseq's meters."""

from collections.abc import Mapping
from typing import Optional

from fairseq.logging import metrics

AGGREGATOR = "dlf_progress"


def remember(figures: Mapping[str, float]) -> None:
    """Keep figures in a separate aggregator, until others replace them.

    Forced by: nothing else of a criterion without parameters is saved. fairseq saves meters with
    every checkpoint, whatever the task, and restores them within an epoch.
    """
    # A new root keeps the figures out of the run's own log, where the criterion reports them.
    with metrics.aggregate(AGGREGATOR, new_root=True):
        for name, value in figures.items():
            metrics.log_scalar(name, value, weight=0)


def recall() -> Optional[dict[str, float]]:
    """Return the figures that were kept last, or None."""
    meters = metrics.get_meters(AGGREGATOR)
    return {name: meter.val for name, meter in meters.items()} if meters else None
