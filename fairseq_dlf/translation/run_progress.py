"""s_t of a student in `fairseq-train`: how far the run is, and how good the student."""

import math
from typing import Any, NamedTuple

from fairseq.logging import metrics
from fairseq.models import BaseFairseqModel
from fairseq.tasks import FairseqTask

from fairseq_dlf.translation.decoding import fixed_sample, greedy_bleu

# Kept in the task's state, which fairseq saves in its checkpoints.
STATE_KEY = "dlf_progress"


class ProgressValues(NamedTuple):
    """s_t by name, each in [0, 1]: updates / planned updates, and BLEU / 100."""

    updates: float
    train_bleu: float
    dev_bleu: float


class RunProgress:
    """Measures the progress of a student's run and remembers it across a resume.

    Greedy BLEU is measured on fixed samples of train and dev, at the first update
    of an epoch or every `progress_interval` updates.

    Args:
        cfg: the criterion's configuration.
        task: the run's task; its data sets are read when first needed.
    """

    def __init__(self, cfg: Any, task: FairseqTask):
        self.cfg = cfg
        self.task = task

    def now(self, model: BaseFairseqModel) -> ProgressValues:
        """s_t for the update under way. Cost: two greedy decodings where BLEU is due, else nothing."""
        updates = current_update()
        period = updates // self.cfg.progress_interval if self.cfg.progress_interval else self._epoch()
        known = self.task.state.state_dict.get(STATE_KEY)
        if known is None or known["period"] != period:
            known = {"period": period, **self._measure(model)}
            self.task.state.merge_state_dict({STATE_KEY: known})
        elapsed = min(1.0, updates / self._planned_updates())
        return ProgressValues(elapsed, known["train_bleu"], known["dev_bleu"])

    def _measure(self, model: BaseFairseqModel) -> dict[str, float]:
        subsets = {
            "train_bleu": self.cfg.train_subset,
            "dev_bleu": self.cfg.valid_subset.split(",")[0],
        }
        found = {}
        for name, subset in subsets.items():
            dataset = self._dataset(subset)
            indices = fixed_sample(dataset, self.cfg.progress_sentences, self.cfg.seed)
            found[name] = greedy_bleu(self.task, model, dataset, indices).score / 100
        return found

    def _dataset(self, subset: str):
        if subset not in self.task.datasets:
            self.task.load_dataset(subset, combine=False, epoch=1)
        return self.task.dataset(subset)

    def _epoch(self) -> int:
        return self._epoch_iterator().epoch

    def _planned_updates(self) -> int:
        limits = [self.cfg.max_update] if self.cfg.max_update > 0 else []
        if self.cfg.max_epoch > 0:
            batches = len(self._epoch_iterator())
            limits.append(self.cfg.max_epoch * math.ceil(batches / self.cfg.update_freq[-1]))
        return min(limits)

    def _epoch_iterator(self):
        dataset = self.task.dataset(self.cfg.train_subset)
        iterator = self.task.dataset_to_epoch_iter.get(dataset)
        if iterator is None:
            raise RuntimeError(
                "fairseq keeps no epoch iterator for this training set (sharded data): "
                "pass --max-update and --progress-interval"
            )
        return iterator


def current_update() -> int:
    """The number of updates done, as fairseq's trainer logs it; 0 before the first."""
    meter = metrics.get_meter("default", "num_updates")
    return int(meter.val) if meter is not None and meter.val is not None else 0
