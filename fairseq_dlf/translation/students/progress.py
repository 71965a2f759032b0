"""s_t of a student in `fairseq-train`: the completed share of the run, and the student's BLEU."""

from typing import Any, NamedTuple

from fairseq.data import FairseqDataset
from fairseq.models import BaseFairseqModel
from fairseq.tasks import FairseqTask

from fairseq_dlf.translation.bleu.progress import ProgressValues, sampled_bleu
from fairseq_dlf.translation.hooks.task_state import keep, kept
from fairseq_dlf.translation.students.plan import RunPlan

PROGRESS_SENTENCES = 200
STATE = "progress"


class Measurement(NamedTuple):
    """Greedy BLEU / 100 of fixed samples, with the epoch and update of the measurement."""

    epoch: int
    updates: int
    train_bleu: float
    dev_bleu: float


class RunProgress:
    """The progress of a student's run, which is remembered across a resume.

    Greedy BLEU is measured on fixed samples of train and dev at the first update
    of every epoch and, if `progress_interval` is set, every so many updates after it.

    Args:
        cfg: the criterion's configuration.
        task: the run's task; its data sets are read when first needed.
    """

    def __init__(self, cfg: Any, task: FairseqTask):
        self.cfg = cfg
        self.task = task
        self._plan = RunPlan(cfg, task)
        self._sentences = PROGRESS_SENTENCES if cfg.progress_sentences is None else cfg.progress_sentences

    def now(self, model: BaseFairseqModel, updates: int, decoded: bool = True) -> ProgressValues:
        """Return s_t of the present update.

        Args:
            updates: number of completed updates.
            decoded: whether BLEU is measured; 0 stands for it otherwise.

        Cost: two greedy decodings if BLEU is due, otherwise nothing.
        """
        if not decoded:
            return ProgressValues(self._plan.share_done(updates), 0.0, 0.0)
        epoch = self._plan.epoch
        state = kept(self.task, STATE)
        known = None if state is None else Measurement(**state)
        interval = self.cfg.progress_interval
        if known is None or known.epoch != epoch or (interval and updates - known.updates >= interval):
            known = Measurement(epoch, updates, **self._measure(model))
            keep(self.task, STATE, known._asdict())
        return ProgressValues(self._plan.share_done(updates), known.train_bleu, known.dev_bleu)

    def _measure(self, model: BaseFairseqModel) -> dict[str, float]:
        train = self._dataset(self.cfg.train_subset)
        dev = self._dataset(self.cfg.valid_subset.split(",")[0])
        return sampled_bleu(self.task, model, train, dev, self._sentences, self.cfg.seed)

    def _dataset(self, subset: str) -> FairseqDataset:
        if subset not in self.task.datasets:
            self.task.load_dataset(subset, combine=False, epoch=1)
        return self.task.dataset(subset)
