"""The plan of a run of `fairseq-train`: how many updates it will make, and how far it has come."""

import math
from typing import Any

from fairseq.data.iterators import EpochBatchIterating
from fairseq.tasks import FairseqTask

from fairseq_dlf.core.support.errors import InputError, StateError


def require_length(cfg: Any, needed_by: str) -> None:
    """Raise InputError unless the run is bounded.

    Args:
        cfg: a criterion's configuration, with `max_update` and `max_epoch`.
        needed_by: who needs updates / planned updates, for the message.
    """
    if cfg.max_update <= 0 and cfg.max_epoch <= 0:
        raise InputError(
            f"the length of the run is unknown, and {needed_by} needs updates / planned updates: "
            "pass --max-update or --max-epoch"
        )


class RunPlan:
    """The planned length of a run, and its present epoch.

    Args:
        cfg: a criterion's configuration, with `max_update`, `max_epoch`, `update_freq` and `train_subset`.
        task: the run's task; its batches are looked at when first needed.
    """

    def __init__(self, cfg: Any, task: FairseqTask):
        self.cfg = cfg
        self.task = task

    @property
    def epoch(self) -> int:
        """The present epoch, from 1."""
        return self._epoch_iterator().epoch

    def share_done(self, updates: int) -> float:
        """Return completed updates / planned updates, at most 1."""
        return min(1.0, updates / self._planned_updates())

    def _planned_updates(self) -> int:
        limits = [self.cfg.max_update] if self.cfg.max_update > 0 else []
        if self.cfg.max_epoch > 0:
            batches = len(self._epoch_iterator())
            limits.append(self.cfg.max_epoch * math.ceil(batches / self.cfg.update_freq[-1]))
        return min(limits)

    def _epoch_iterator(self) -> EpochBatchIterating:
        dataset = self.task.dataset(self.cfg.train_subset)
        iterator = self.task.dataset_to_epoch_iter.get(dataset)
        if iterator is None:
            raise StateError(
                "fairseq keeps no epoch iterator for a training set in several shards, so the run's progress is "
                "unknown: merge the shards into one data-bin"
            )
        return iterator
