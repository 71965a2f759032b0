"""The dynamic loss, with a teacher's coefficients or with constant ones."""

from torch import Tensor

from fairseq_dlf.core.teaching.forms import Form, Matrix
from fairseq_dlf.core.teaching.loss import DynamicLoss
from fairseq_dlf.images.losses.registry import LossInput, loss_family


@loss_family("constant")
def constant(given: LossInput, *, scale: float = 1.0, ce_share: float = 0.0) -> Tensor:
    """dynamic loss with constant coefficients Φ = scale · I, −σ(scale · log p(y))"""
    logits = given.scores.logits
    neutral = Matrix().neutral(logits.size(1)).to(logits)
    return _mean(given, Matrix(), scale * neutral, ce_share)


@loss_family("dlf", needs_teacher=True)
def dlf(given: LossInput, *, ce_share: float = 0.0) -> Tensor:
    """dynamic loss of L2T-DLF, −σ(yᵀΦ log p), with a teacher's Φ"""
    return _mean(given, given.form, given.coefficients, ce_share)


def _mean(given: LossInput, form: Form, coefficients: Tensor, ce_share: float) -> Tensor:
    losses = DynamicLoss(form, ce_share=ce_share)(given.scores.logits, given.labels, coefficients)
    return losses.loss / len(given.labels)
