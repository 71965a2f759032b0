"""A small network on a few figures of each prediction, for dictionaries of any size."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fairseq_dlf.core.teaching.forms.form import FORMS
from fairseq_dlf.core.teaching.forms.network import NetworkForm
from fairseq_dlf.core.teaching.forms.smoothing import require_smoothing, smoothed_reward, smoothing_weights
from fairseq_dlf.core.teaching.log_probs import LogProbs

# The usual gain of tanh.
GAIN = 5 / 3


@FORMS.register("token_network")
@dataclass(frozen=True)
class TokenNetwork(NetworkForm):
    """reward = a log p(y) + b · mean_j log p(j) + network(x); Φ is a, b and the network's weights.

    x is log p(y), the largest other log p, the entropy and mean log p, each divided by log |V| so that it is of order
    1 for any dictionary, and a constant 1. The network has tanh units, and no effect where teaching starts, since its
    last layer is 0 there.

    Attributes:
        start: ε of the label smoothing from which teaching starts; 0 is cross-entropy.

    Cost: log p of all types and three tensors of its size besides; 354 coefficients by default.
    Source: ours, after the loss network of L2T-DLN (Hai et al. 2023).
    """

    width: int = 16
    depth: int = 2
    start: float = 0.0
    inputs = 5
    reads_sum = True
    reads_every = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require_smoothing(self.start)

    def size(self, types: int) -> int:
        return 2 + self.weights

    def neutral(self, types: int) -> Tensor:
        return self._without_network(*smoothing_weights(self.start, types))

    def uniform_share(self, share: float, types: int, weight: float = 1.0) -> Tensor:
        return self._without_network(weight * (1.0 - share), weight * share)

    def reward(self, coefficients: Tensor, log_probs: LogProbs) -> Tensor:
        (target, rest), weights = coefficients[:2], coefficients[2:]
        return smoothed_reward(target, rest, log_probs) + self.output(weights, _figures(log_probs), torch.tanh)

    def _without_network(self, target: float, rest: float) -> Tensor:
        """Return Φ with a and b, and a network whose output is 0."""
        *hidden, last = self.random_weights(GAIN)
        layers = [layer.flatten() for layer in (*hidden, torch.zeros_like(last))]
        return torch.cat([torch.tensor([target, rest]), *layers])


def _figures(seen: LogProbs) -> Tensor:
    """Return x of each token, (n, 5)."""
    assert seen.every is not None and seen.summed is not None
    types = seen.every.size(1)
    other = seen.every.scatter(1, seen.target.unsqueeze(1), -math.inf).amax(dim=1)
    entropy = -(seen.every.exp() * seen.every).sum(dim=1)
    figures = torch.stack([seen.of_target, other, entropy, seen.summed / types], dim=1) / math.log(max(types, 2))
    return torch.cat([figures, torch.ones_like(figures[:, :1])], dim=1)
