"""The criterion `dlf_scheduled_smoothing`: cross-entropy with label smoothing that moves along the run."""

from dataclasses import dataclass, field
from typing import Any, List

from fairseq.criterions import register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.tasks import FairseqTask
from omegaconf import II
from torch import nn

from fairseq_dlf.core.support.checks import require_rate
from fairseq_dlf.core.teaching.forms import Diagonal
from fairseq_dlf.core.teaching.loss import DynamicLoss
from fairseq_dlf.translation.hooks.naming import naming_options
from fairseq_dlf.translation.students.losses.criterion import StudentCriterion, TrainingLoss
from fairseq_dlf.translation.students.plan import RunPlan, require_length

OPTIONS = {"label_smoothing": "--label-smoothing", "label_smoothing_end": "--label-smoothing-end"}


@dataclass
class ScheduledSmoothingConfig(FairseqDataclass):
    label_smoothing: float = field(default=0.9, metadata={"help": "ε at the first update"})
    label_smoothing_end: float = field(
        default=0.1, metadata={"help": "ε at the end of the run; it moves linearly in the completed share of the run"}
    )
    sentence_avg: bool = II("optimization.sentence_avg")
    max_update: int = II("optimization.max_update")
    max_epoch: int = II("optimization.max_epoch")
    update_freq: List[int] = II("optimization.update_freq")
    train_subset: str = II("dataset.train_subset")


@register_criterion("dlf_scheduled_smoothing", dataclass=ScheduledSmoothingConfig)
class ScheduledSmoothing(StudentCriterion):
    """Label-smoothed cross-entropy, spread as in fairseq, whose ε is linear in the completed share of the run.

    A share of a uniform target that falls pays where data are few and students start from nothing; the figure
    `smoothing` is the present ε. A taught share is the form `bins(number=1,linear=1)` with a schedule as teacher.

    Source: ours.
    """

    figures = ("smoothing",)

    def __init__(self, cfg: Any, task: FairseqTask):
        super().__init__(cfg, task)
        with naming_options(OPTIONS):
            require_rate(label_smoothing=cfg.label_smoothing, label_smoothing_end=cfg.label_smoothing_end)
        require_length(cfg, needed_by="the schedule of label smoothing")
        self._plan = RunPlan(cfg, task)

    def training_loss(self, model: nn.Module, sample: dict[str, Any]) -> TrainingLoss:
        share = self._plan.share_done(self.update)
        smoothing = (1.0 - share) * self.cfg.label_smoothing + share * self.cfg.label_smoothing_end
        loss = DynamicLoss(Diagonal(), self.padding_idx, ce_share=1.0, label_smoothing=smoothing)
        return TrainingLoss(*loss(model(**sample["net_input"])[0], sample["target"]), {"smoothing": smoothing})
