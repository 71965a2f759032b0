"""The criterion `dlf_r_drop`: cross-entropy, and agreement of two passes with different dropout masks."""

from dataclasses import dataclass, field
from typing import Any

from fairseq.criterions import register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.tasks import FairseqTask
from omegaconf import II
from torch import nn

from fairseq_dlf.core.support.checks import require_at_least
from fairseq_dlf.core.teaching.forms import Diagonal
from fairseq_dlf.core.teaching.loss import DynamicLoss
from fairseq_dlf.translation.hooks.naming import naming_options
from fairseq_dlf.translation.regularisers.passes import require_difference, symmetric_divergence, twice
from fairseq_dlf.translation.students.losses.criterion import StudentCriterion, TrainingLoss

OPTIONS = {"r_drop_weight": "--r-drop-weight", "label_smoothing": "--label-smoothing"}
ADVICE = "train with dropout (such as --dropout 0.3), or take another criterion"


@dataclass
class RDropConfig(FairseqDataclass):
    r_drop_weight: float = field(
        default=5.0, metadata={"help": "α, weight of the divergence between the two passes (published for IWSLT14: 5)"}
    )
    label_smoothing: float = field(default=0.0, metadata={"help": "label smoothing within the cross-entropy"})
    sentence_avg: bool = II("optimization.sentence_avg")


@register_criterion("dlf_r_drop", dataclass=RDropConfig)
class RDrop(StudentCriterion):
    """½ (CE₁ + CE₂) + α/4 Σ [KL(p₁‖p₂) + KL(p₂‖p₁)], over two dropout masks in one forward pass.

    This is half of the published loss, so that the learning rate of cross-entropy fits. The
    figure `r_drop_kl` is the mean of the two divergences, per token.

    Raises:
        InputError: an option is out of range.
        StateError: in the first batch if the two passes agree, for want of dropout.

    Cost: a step on twice as many sentences, and at the peak six (tokens, types) tensors more.
    Paper: Wu et al. 2021, equations 2 and 3.
    """

    figures = ("r_drop_kl",)

    def __init__(self, cfg: Any, task: FairseqTask):
        super().__init__(cfg, task)
        with naming_options(OPTIONS):
            require_at_least(0.0, r_drop_weight=cfg.r_drop_weight)
            self.loss = DynamicLoss(Diagonal(), self.padding_idx, ce_share=1.0, label_smoothing=cfg.label_smoothing)
        self._compared = cfg.r_drop_weight == 0

    def training_loss(self, model: nn.Module, sample: dict[str, Any]) -> TrainingLoss:
        logits = model(**twice(sample["net_input"]))[0]
        target = sample["target"]
        found = self.loss(logits, target.repeat_interleave(2, dim=0))
        divergence = symmetric_divergence(logits).masked_fill(target == self.padding_idx, 0.0).sum()
        per_token = float(divergence.detach()) / 2 / sample["ntokens"]
        self._require_difference(per_token)
        loss = 0.5 * found.loss + 0.25 * self.cfg.r_drop_weight * divergence
        return TrainingLoss(loss, 0.5 * found.nll_nats, {"r_drop_kl": per_token})

    def _require_difference(self, per_token: float) -> None:
        """Raise StateError if the first batch shows that the run has no dropout."""
        if not self._compared:
            require_difference(per_token, "dlf_r_drop", ADVICE)
        self._compared = True
