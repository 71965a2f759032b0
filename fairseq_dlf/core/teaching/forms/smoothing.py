"""Label smoothing in coefficients: the weight of the target, and that of a rest."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fairseq_dlf.core.teaching.forms.form import Form, require_form
from fairseq_dlf.core.teaching.log_probs import LogProbs


def smoothing_weights(smoothing: float, types: int) -> tuple[float, float]:
    """Return (a, b) with which a log p(y) + b · mean_j log p(j) is minus the label-smoothed cross-entropy.

    As in fairseq, the target has 1 − ε − ε / (V − 1) besides its share of the uniform rest, ε V / (V − 1).

    Args:
        smoothing: ε in [0, 1).
        types: V, at least 2.
    """
    each = smoothing / (types - 1)
    return 1.0 - smoothing - each, types * each


def require_smoothing(start: float) -> None:
    """Raise InputError unless ε lies in [0, 1)."""
    require_form("start", 0.0 <= start < 1.0, f"is {start}, but must lie in [0, 1)")


def pairs(target: float, rest: float, number: int) -> Tensor:
    """Return the same (a, b) for a number of entries: all a, then all b, (2 · number,), float32."""
    return torch.cat([torch.full((number,), target), torch.full((number,), rest)])


@dataclass(frozen=True)
class PairPerType(Form):
    """A form of two coefficients per type, for the target and for a rest; Φ is all a, then all b.

    Attributes:
        start: ε of the smoothing from which teaching starts; 0 is cross-entropy.
    """

    start: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_smoothing(self.start)

    def size(self, types: int) -> int:
        return 2 * types


def smoothed_reward(target: Tensor, rest: Tensor, log_probs: LogProbs) -> Tensor:
    """Return a log p(y) + b · mean_j log p(j) of each token, (n,).

    Args:
        target, rest: a and b of each token, (n,).
    """
    assert log_probs.summed is not None
    return target * log_probs.of_target + rest * log_probs.summed / log_probs.logits.size(-1)
