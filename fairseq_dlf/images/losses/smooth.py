"""The smooth 0-1 loss."""

from torch import Tensor
from torch.nn import functional

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.images.losses.registry import LossInput, loss_family


@loss_family("smooth")
def smooth(given: LossInput, *, sharpness: float = 50.0) -> Tensor:
    """smooth 0-1 loss, −log σ(K(log p(y) − max over j ≠ y of log p(j))), K = sharpness

    Paper: section 5.1, after Nguyen and Sanner, 2013.
    """
    if not sharpness > 0.0:
        raise InputError(f"the sharpness is {sharpness:g}, but must be positive", setting="loss_options")
    logits, labels = given.scores.logits, given.labels.unsqueeze(1)
    # Differences of log-probabilities are differences of logits.
    others = logits.scatter(1, labels, float("-inf"))
    margin = logits.gather(1, labels).squeeze(1) - others.max(dim=1).values
    return functional.softplus(-sharpness * margin).mean()
