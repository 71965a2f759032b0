"""A small network that is the loss, on pairs of a right and a wrong class."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu

from fairseq_dlf.core.teaching.forms.form import FORMS
from fairseq_dlf.core.teaching.forms.network import NetworkForm
from fairseq_dlf.core.teaching.log_probs import LogProbs

SLOPE = 0.01
# He et al. 2015, for leaky ReLU: with it, the weights are Kaiming's normal ones by outputs.
GAIN = (2 / (1 + SLOPE**2)) ** 0.5


@FORMS.register("loss_network")
@dataclass(frozen=True)
class LossNetwork(NetworkForm):
    """reward = −(1 / classes) Σ_{j ≠ y} network(σ(z_y), σ(z_j), 1, 0), for logits z; with `linear`, loss = −reward.

    One network for all pairs of classes, with leaky ReLU and without biases, so that its size does not depend on the
    number of classes. Its output has no bound, and only its slope counts. It starts at random: no Φ is neutral.

    Attributes:
        linear: 1, the default, for the network's output itself.

    Cost: 2 · depth tensors (n, classes, width); 5,000 coefficients as in the source, of which those of the constant
    0 have no effect. For dictionaries of thousands of types take `TokenNetwork`.
    Source: L2T-DLN (Hai et al. 2023) and the authors' code.
    """

    linear: int = 1
    inputs = 4
    starts_neutral = False

    def size(self, types: int) -> int:
        return self.weights

    def neutral(self, types: int) -> Tensor:
        return torch.cat([layer.flatten() for layer in self.random_weights(GAIN)])

    def reward(self, coefficients: Tensor, log_probs: LogProbs) -> Tensor:
        squashed = torch.sigmoid(log_probs.logits.to(coefficients.dtype))
        target = log_probs.target.unsqueeze(1)
        others = squashed.gather(1, _places_of_others(target, squashed.size(1)))
        own = squashed.gather(1, target).expand_as(others)
        rows = torch.stack([own, others, torch.ones_like(others), torch.zeros_like(others)], dim=-1)
        found = self.output(coefficients, rows, partial(leaky_relu, negative_slope=SLOPE))
        # The mean is over all classes, as in the source, where the row of y counts as 0.
        return -found.sum(dim=-1) / squashed.size(1)


def _places_of_others(target: Tensor, types: int) -> Tensor:
    """Return the classes other than y, (n, types − 1), for y of (n, 1)."""
    places = torch.arange(types - 1, device=target.device)
    return places + (places >= target)
