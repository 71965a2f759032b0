"""Figures that a criterion keeps across a resume, in fairseq's meters."""

from collections.abc import Mapping
from typing import Optional

from fairseq.logging import metrics

AGGREGATOR = "dlf_progress"


def remember(figures: Mapping[str, float]) -> None:
    """Keep figures in an aggregator of our own, until others take their place.

    Forced by: fairseq saves meters with every checkpoint, also for tasks that are not ours, and
    restores them within an epoch; a criterion without parameters has nothing else that is saved.
    """
    # A new root keeps the figures out of the run's own log, where the criterion reports them.
    with metrics.aggregate(AGGREGATOR, new_root=True):
        for name, value in figures.items():
            metrics.log_scalar(name, value, weight=0)


def recall() -> Optional[dict[str, float]]:
    """The figures that were kept last; None where there are none."""
    meters = metrics.get_meters(AGGREGATOR)
    return {name: meter.val for name, meter in meters.items()} if meters else None
