"""Cross-entropy, the baseline of every comparison."""

from torch import Tensor
from torch.nn import functional

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.images.losses.registry import LossInput, loss_family


@loss_family("cross_entropy")
def cross_entropy(given: LossInput, *, smoothing: float = 0.0) -> Tensor:
    """cross-entropy, −log p(y), with label smoothing if its option is set"""
    if not 0.0 <= smoothing < 1.0:
        raise InputError(f"the smoothing is {smoothing:g}, but must lie in [0, 1)", setting="loss_options")
    return functional.cross_entropy(given.scores.logits, given.labels, label_smoothing=smoothing)
