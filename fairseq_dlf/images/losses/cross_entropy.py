"""Cross-entropy, the baseline of every comparison."""

from torch import Tensor
from torch.nn import functional

from fairseq_dlf.images.losses.registry import LossInput, loss_family


@loss_family("cross_entropy")
def cross_entropy(given: LossInput) -> Tensor:
    """cross-entropy, −log p(y)"""
    return functional.cross_entropy(given.scores.logits, given.labels)
