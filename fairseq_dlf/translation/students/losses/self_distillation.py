"""The criterion `dlf_self_distillation`: targets softened by the student as it was when the epoch began."""

import copy
from dataclasses import dataclass, field
from typing import Any, List, Optional

import torch
from fairseq.criterions import register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.models import BaseFairseqModel
from fairseq.tasks import FairseqTask
from omegaconf import II
from torch import Tensor, nn

from fairseq_dlf.core.support.checks import require_between
from fairseq_dlf.translation.bleu.decoding import unwrapped
from fairseq_dlf.translation.hooks.naming import naming_options
from fairseq_dlf.translation.hooks.task_state import keep, kept
from fairseq_dlf.translation.regularisers.self_distillation import probs_of
from fairseq_dlf.translation.students.losses.criterion import StudentCriterion, TrainingLoss
from fairseq_dlf.translation.students.plan import RunPlan, require_length

OPTIONS = {"distillation_weight": "--distillation-weight"}
STATE = "self_distillation"


@dataclass
class SelfDistillationConfig(FairseqDataclass):
    distillation_weight: float = field(
        default=0.8,
        metadata={"help": "weight of the past self at the end of the run, to which it rises linearly from 0"},
    )
    distillation_from_start: bool = field(
        default=False,
        metadata={
            "help": "in the first epoch, the past self has the weights that the run starts from; by default the "
            "first epoch is plain cross-entropy"
        },
    )
    sentence_avg: bool = II("optimization.sentence_avg")
    max_update: int = II("optimization.max_update")
    max_epoch: int = II("optimization.max_epoch")
    update_freq: List[int] = II("optimization.update_freq")
    train_subset: str = II("dataset.train_subset")


@register_criterion("dlf_self_distillation", dataclass=SelfDistillationConfig)
class SelfDistillation(StudentCriterion):
    """Cross-entropy with the targets (1 − w) · one-hot + w · p_past, where w rises linearly along the run.

    p_past are the predictions, without dropout, of the student as it was when the present epoch began. The
    figures are w, and the mean probability that the past self gives to the targets of a batch.

    Raises:
        InputError: an option is out of range, or the length of the run is unknown.

    Cost: a forward pass without a graph, and a copy of the student, which every checkpoint holds too.
    Paper: Kim et al. 2021 (PS-KD), whose past self is also the one of the last epoch, and whose weight is 0.8.
    """

    figures = ("distillation_weight", "past_prob")

    def __init__(self, cfg: Any, task: FairseqTask):
        super().__init__(cfg, task)
        with naming_options(OPTIONS):
            require_between(0.0, 1.0, distillation_weight=cfg.distillation_weight)
        require_length(cfg, needed_by="the weight of the past self")
        self._plan = RunPlan(cfg, task)
        self._past = PastSelf(task, cfg.distillation_from_start)

    def training_loss(self, model: nn.Module, sample: dict[str, Any]) -> TrainingLoss:
        past_probs = self._past.probs(unwrapped(model), self._plan.epoch, sample["net_input"])
        logits = model(**sample["net_input"])[0]
        if past_probs is None:
            return TrainingLoss(*self._cross_entropy(logits, sample["target"]))
        weight = self.cfg.distillation_weight * self._plan.share_done(self.update)
        counted = sample["target"] != self.padding_idx
        target, past_probs = sample["target"][counted], past_probs[counted]
        of_target = past_probs.gather(1, target.unsqueeze(1))
        figures = {"distillation_weight": weight, "past_prob": float(of_target.mean())}
        return TrainingLoss(*softened(logits[counted], target, past_probs, weight), figures)


def softened(logits: Tensor, target: Tensor, past_probs: Tensor, weight: float) -> tuple[Tensor, Tensor]:
    """Return −Σ [(1 − w) log p(y) + w Σ_v p_past(v) log p(v)], and plain cross-entropy without a graph; both scalars.

    Args:
        logits: (n, types), any float dtype; the computation is in float32 or better.
        target: (n,), int64.
        past_probs: p_past, (n, types).
        weight: w in [0, 1].

    Cost: two (n, types) tensors are kept for the backward pass, which makes two more.
    """
    table = torch.log_softmax(logits, dim=-1, dtype=torch.promote_types(logits.dtype, torch.float32))
    index = target.unsqueeze(1)
    wanted = (weight * past_probs.to(table.dtype)).scatter_add(1, index, torch.full_like(table[:, :1], 1.0 - weight))
    return -torch.linalg.vecdot(wanted, table).sum(), -table.detach().gather(1, index).sum()


class PastSelf:
    """The student as it was when the present epoch began; it survives a resume.

    It is no module, so that neither the student's optimiser nor its checkpoint's parameters hold it.

    Args:
        task: the run's task, with which the past self is saved.
        from_start: whether the first epoch of a run has a past self, the student with which the run began.
    """

    def __init__(self, task: FairseqTask, from_start: bool):
        self._task = task
        self._from_start = from_start
        self._model: Optional[BaseFairseqModel] = None

    def probs(self, model: BaseFairseqModel, epoch: int, net_input: dict[str, Any]) -> Optional[Tensor]:
        """Return p_past of a batch, (rows, tokens, types), float32 or better; None while there is no past self.

        Args:
            model: the student.
            epoch: the present one; if it is a new one, the past self becomes the student of now.
        """
        self._refresh(model, epoch)
        if self._model is None:
            return None
        with torch.no_grad():
            return probs_of(self._model(**net_input)[0])

    def _refresh(self, model: BaseFairseqModel, epoch: int) -> None:
        known = kept(self._task, STATE)
        if known is not None and known["epoch"] == epoch:
            if self._model is None and known["weights"] is not None:
                self._become(model, epoch, known["weights"])
        elif known is None and not self._from_start:
            keep(self._task, STATE, {"epoch": epoch, "weights": None})
        else:
            self._become(model, epoch, model.state_dict())

    def _become(self, model: BaseFairseqModel, epoch: int, weights: dict[str, Tensor]) -> None:
        """Take the weights, with a copy of the student's architecture."""
        if self._model is None:
            self._model = copy.deepcopy(model).requires_grad_(False).eval()
        nn.Module.load_state_dict(self._model, weights)
        keep(self._task, STATE, {"epoch": epoch, "weights": self._model.state_dict()})
