"""The dynamic loss, with a teacher's coefficients or with constant ones."""

import torch
from torch import Tensor

from fairseq_dlf.core.teaching.loss import MatrixLoss
from fairseq_dlf.images.losses.registry import LossInput, loss_family


@loss_family("constant")
def constant(given: LossInput, *, scale: float = 1.0, ce_share: float = 0.0) -> Tensor:
    """dynamic loss with constant coefficients Φ = scale · I, −σ(scale · log p(y))"""
    logits = given.scores.logits
    identity = scale * torch.eye(logits.size(1), dtype=logits.dtype, device=logits.device)
    return MatrixLoss(ce_share)(logits, given.labels, identity.flatten())


@loss_family("dlf", needs_teacher=True)
def dlf(given: LossInput, *, ce_share: float = 0.0) -> Tensor:
    """dynamic loss of L2T-DLF, −σ(yᵀΦ log p), with a teacher's Φ"""
    return MatrixLoss(ce_share)(given.scores.logits, given.labels, given.coefficients)
