"""The large-margin softmax (L-softmax): the true class must win by a multiple of its angle."""

import torch
from torch import Tensor
from torch.nn import functional

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.images.losses.registry import LossInput, loss_family

# The paper's options for CIFAR; the defaults are those for MNIST.
CIFAR_OPTIONS = {"margin": 2.0, "gamma": 1e-5, "power": 45.0}


@loss_family("large_margin", head_bias=False)
def large_margin(
    given: LossInput,
    *,
    margin: float = 4.0,
    gamma: float = 2.5e-5,
    power: float = 35.0,
    lambda_min: float = 0.0,
    annealing: float = 20000.0,
) -> Tensor:
    """large-margin softmax: the angle of the true class counts margin-fold

    The true class's score ‖W_y‖‖x‖cos θ becomes ‖W_y‖‖x‖(λ cos θ + ψ(θ)) / (1 + λ), where
    λ falls from 1000 to `lambda_min`. In a run of fewer than `annealing` updates λ falls as far, only faster.

    Source: Liu et al., "Large-Margin Softmax Loss", 2016, with the paper's constants.
    """
    weight = _lambda(given.iteration, given.iterations, gamma, power, lambda_min, annealing)
    logits, features, rows = given.scores[:3]
    labels = given.labels.unsqueeze(1)
    score = logits.gather(1, labels).squeeze(1)
    squared = features.square().sum(dim=1) * rows[given.labels].square().sum(dim=1)
    # Vectors of length 0 have no angle, and a root at 0 would make second derivatives NaN.
    has_angle = squared > 1e-24
    length = torch.where(has_angle, squared, 1.0).sqrt()
    widened = (weight * score + length * psi(score / length, margin)) / (1.0 + weight)
    widened = torch.where(has_angle, widened, score)
    return functional.cross_entropy(logits.scatter(1, labels, widened.unsqueeze(1)), given.labels)


def psi(cosine: Tensor, margin: float) -> Tensor:
    """Return ψ(θ) = (−1)^k cos mθ − 2k for θ in [kπ/m, (k + 1)π/m]; it falls from 1 to 1 − 2m as θ grows.

    Args:
        cosine: cos θ, any shape.
        margin: m: 1, 2, 3 or 4.

    Raises:
        InputError: m is another number.
    """
    if margin not in (1, 2, 3, 4):
        raise InputError(f"the margin is {margin:g}, but must be 1, 2, 3 or 4", setting="loss_options")
    # cos mθ by Chebyshev's recursion: an arc cosine has an infinite slope at θ = 0.
    before, multiple = torch.ones_like(cosine), cosine
    for _ in range(int(margin) - 1):
        before, multiple = multiple, 2.0 * cosine * multiple - before
    bounds = torch.cos(torch.arange(1, margin, dtype=cosine.dtype, device=cosine.device) * (torch.pi / margin))
    piece = (cosine.detach().unsqueeze(-1) < bounds).sum(dim=-1).to(cosine.dtype)
    sign = 1.0 - 2.0 * (piece % 2)
    return sign * multiple - 2.0 * piece


def _lambda(iteration: int, iterations: int, gamma: float, power: float, lambda_min: float, annealing: float) -> float:
    """Return λ = max(lambda_min, 1000 (1 + γ it)^−power)."""
    passed = iteration * max(1.0, annealing / iterations)
    return max(lambda_min, 1000.0 * (1.0 + gamma * passed) ** -power)
