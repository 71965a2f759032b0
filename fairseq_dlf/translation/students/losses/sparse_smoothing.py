"""The criterion `dlf_sparse_smoothing`: label smoothing as a function of p(y) alone."""

import math
from dataclasses import dataclass, field
from typing import Any

from fairseq.criterions import register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.tasks import FairseqTask
from omegaconf import II
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from fairseq_dlf.core.support.checks import require_rate
from fairseq_dlf.core.teaching.log_probs import log_odds
from fairseq_dlf.translation.hooks.naming import naming_options
from fairseq_dlf.translation.students.losses.criterion import StudentCriterion, TrainingLoss

OPTIONS = {"label_smoothing": "--label-smoothing"}


@dataclass
class SparseSmoothingConfig(FairseqDataclass):
    label_smoothing: float = field(
        default=0.1, metadata={"help": "ε: the loss is smallest at p(y) = 1 − ε; 0 is cross-entropy"}
    )
    sentence_avg: bool = II("optimization.sentence_avg")


@register_criterion("dlf_sparse_smoothing", dataclass=SparseSmoothingConfig)
class SparseSmoothing(StudentCriterion):
    """Label smoothing that looks at the target's probability only, not at how the rest is spread.

    Paper: Raymond et al. 2023, sparse label smoothing regularisation. The sign of the second term is that
        of label smoothing, which makes 1 − ε the best p(y).
    """

    def __init__(self, cfg: Any, task: FairseqTask):
        super().__init__(cfg, task)
        with naming_options(OPTIONS):
            require_rate(label_smoothing=cfg.label_smoothing)

    def training_loss(self, model: nn.Module, sample: dict[str, Any]) -> TrainingLoss:
        logits = model(**sample["net_input"])[0]
        types = logits.size(-1)
        target = sample["target"].reshape(-1)
        counted = target != self.padding_idx
        margin = log_odds(logits.reshape(-1, types), target)[counted]
        loss = smoothed(margin, self.cfg.label_smoothing, types).sum()
        return TrainingLoss(loss, -logsigmoid(margin.detach()).sum())


def smoothed(margin: Tensor, smoothing: float, types: int) -> Tensor:
    """Return −(1 − ε) log p − ε log((1 − p) / (V − 1)) for p = σ(margin).

    Args:
        margin: log-odds of the targets, (n,).
        smoothing: ε in [0, 1).
        types: V.
    """
    spread = smoothing * math.log(types - 1)
    return -(1.0 - smoothing) * logsigmoid(margin) - smoothing * logsigmoid(-margin) + spread
