"""The criterion `dlf_r_drop`: cross-entropy, and agreement of two passes with different dropout masks."""

from dataclasses import dataclass, field
from typing import Any

import torch
from fairseq.criterions import register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.tasks import FairseqTask
from omegaconf import II
from torch import Tensor, nn

from fairseq_dlf.core.support.checks import require_at_least
from fairseq_dlf.core.support.errors import StateError
from fairseq_dlf.core.teaching.forms import Diagonal
from fairseq_dlf.core.teaching.loss import DynamicLoss
from fairseq_dlf.translation.hooks.naming import naming_options
from fairseq_dlf.translation.students.losses.criterion import StudentCriterion, TrainingLoss

OPTIONS = {"r_drop_weight": "--r-drop-weight", "label_smoothing": "--label-smoothing"}
# Nats per token: above the rounding of equal predictions in float32, far below what dropout does even to a
# student that has learnt nothing yet.
NO_DIFFERENCE = 1e-11


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
        if not self._compared and per_token <= NO_DIFFERENCE:
            raise StateError(
                "the two passes of dlf_r_drop agree, so that there is nothing to compare: train with dropout "
                "(such as --dropout 0.3), or take another criterion"
            )
        self._compared = True


def twice(net_input: dict[str, Any]) -> dict[str, Any]:
    """Return a batch with each sentence twice in a row, so that lengths stay sorted."""
    return {
        name: value.repeat_interleave(2, dim=0) if isinstance(value, Tensor) else value
        for name, value in net_input.items()
    }


def symmetric_divergence(logits: Tensor) -> Tensor:
    """Return KL(p₁‖p₂) + KL(p₂‖p₁) = Σ (p₁ − p₂) (log p₁ − log p₂) for neighbouring rows.

    Args:
        logits: (2 rows, tokens, types), rows 0 and 1 to compare, then 2 and 3, …; any float dtype.

    Returns:
        (rows, tokens), in nats, float32 or better.

    Cost: three (rows · tokens, types) tensors in the forward pass, none of them kept, and six in the backward
        pass; plain autograd would keep four.
    """
    paired = logits.reshape(-1, 2, *logits.shape[1:])  # (rows, 2, tokens, types)
    return _SymmetricDivergence.apply(paired)


class _SymmetricDivergence(torch.autograd.Function):
    """The divergence, whose backward pass computes the probabilities again; it can be differentiated once more.

    With d = log p₁ − log p₂, the gradient of the first logits is p₁ (d − Σ p₁ d) + p₁ − p₂, and that of the
    second is the negative of p₂ (d − Σ p₂ d) + p₁ − p₂.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        ctx.save_for_backward(logits)
        table = _log_softmax(logits)
        difference = table[:, 0] - table[:, 1]
        probs = table.exp_()
        return torch.linalg.vecdot(probs[:, 0].sub_(probs[:, 1]), difference)

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Tensor:
        (logits,) = ctx.saved_tensors
        # In place if no further derivative is taken: each tensor is the size of all logits.
        times, plus = (torch.mul, torch.add) if torch.is_grad_enabled() else (Tensor.mul_, Tensor.add_)
        table = _log_softmax(logits)
        difference = (table[:, 0] - table[:, 1]).unsqueeze(1)
        probs = table.exp() if torch.is_grad_enabled() else table.exp_()
        gradient = difference - torch.linalg.vecdot(probs, difference).unsqueeze(-1)
        gradient = plus(times(gradient, probs), probs[:, :1] - probs[:, 1:])
        sign = gradient.new_tensor([1.0, -1.0]).view(2, 1, 1)
        return times(gradient, sign * cotangents[0].unsqueeze(1).unsqueeze(-1)).to(logits.dtype)


def _log_softmax(logits: Tensor) -> Tensor:
    return torch.log_softmax(logits, dim=-1, dtype=torch.promote_types(logits.dtype, torch.float32))
