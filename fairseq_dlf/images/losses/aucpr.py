"""Losses of one-against-rest problems, each class a binary one: bounds on the areas under two curves."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from fairseq_dlf.core.support.checks import require_at_least
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.images.losses.registry import Losses, LossInput, loss_family

AUCPR_LOSSES = Losses("loss", options_setting="loss_options")
# Eban et al.'s number of anchors, and how fast multipliers ascend beside the descent of weights.
ANCHORS, DUAL_RATE = 20, 0.1


def anchored_precisions(anchors: int) -> Tensor:
    """Return π_a = a / (anchors + 1) for a = 1 … anchors, evenly within (0, 1): (anchors,), float64."""
    return torch.arange(1, anchors + 1, dtype=torch.float64) / (anchors + 1)


def anchored_loss(logits: Tensor, labels: Tensor, multipliers: Tensor, biases: Tensor) -> Tensor:
    """Return a bound on 1 − AUCPR: recall with a precision of at least π_a, mean over anchors, classes and images.

    At anchor a a positive costs (1 + λ_a (1 − π_a)) softplus(−(s + b_a)), a negative λ_a π_a softplus(s + b_a), and
    λ_a (1 − π_a) log 2 times the share of positives is subtracted. The share is the batch's: as the loss is linear in
    it, gradients are those of the share in the data on average. (Eban et al.'s own code takes a running mean.)

    Args:
        logits: scores s, (n, classes).
        labels: (n,), int64.
        multipliers, biases: λ and b, (classes, anchors) or, for all classes alike, (anchors,).

    Returns:
        A scalar with a graph to logits, multipliers and biases.

    Cost: n · classes · anchors numbers, several times.
    Source: Eban et al. 2017, section 4, with the logistic surrogate. Anchors that are even in (0, 1) make its sum, with
        spacing and range, a mean.
    """
    precisions = anchored_precisions(multipliers.size(-1)).to(logits)
    scores = logits.unsqueeze(-1) + biases  # (n, classes, anchors)
    right = functional.one_hot(labels, logits.size(1)).to(logits).unsqueeze(-1)
    false_negatives, false_positives = -functional.logsigmoid(scores), -functional.logsigmoid(-scores)
    missed = (1.0 + multipliers * (1.0 - precisions)) * right * false_negatives
    wrong = multipliers * precisions * (1.0 - right) * false_positives
    allowed = multipliers * (1.0 - precisions) * right.mean(dim=0) * math.log(2.0)
    return ((missed + wrong).mean(dim=0) - allowed).mean()


@loss_family("binary_cross_entropy", losses=AUCPR_LOSSES)
def binary_cross_entropy(given: LossInput) -> Tensor:
    """cross-entropy of one-against-rest problems, −log σ(s) of the right class and −log σ(−s) of each other"""
    logits = given.scores.logits
    return functional.binary_cross_entropy_with_logits(
        logits, functional.one_hot(given.labels, logits.size(1)).to(logits)
    )


@loss_family("pairwise_auc", losses=AUCPR_LOSSES)
def pairwise_auc(given: LossInput) -> Tensor:
    """pairwise bound on the area under the ROC curve, softplus(s⁻ − s⁺), mean over pairs, then over classes

    Classes without a pair in the batch do not count; 0 where no class has any.
    """
    logits = given.scores.logits
    right = functional.one_hot(given.labels, logits.size(1)).to(logits)
    pairs = right.unsqueeze(1) * (1.0 - right).unsqueeze(0)  # (n, n, classes): a positive beside a negative
    losses = -functional.logsigmoid(logits.unsqueeze(1) - logits.unsqueeze(0))
    count = pairs.sum(dim=(0, 1))
    means = (pairs * losses).sum(dim=(0, 1)) / count.clamp(min=1.0)
    return means.sum() / (count > 0).sum().clamp(min=1)


def _eban_start(classes: int, anchors: int, dual_rate: float) -> Tensor:
    """Return λ = 1 and b = 0 of every class and anchor, (2, classes, anchors)."""
    if not isinstance(anchors, int):
        raise InputError(f"anchors is {anchors:g}, but must be a whole number", setting="loss_options")
    require_at_least(1, anchors=anchors)
    require_at_least(0, dual_rate=dual_rate)
    return torch.stack([torch.ones(classes, anchors), torch.zeros(classes, anchors)])


@loss_family("eban", losses=AUCPR_LOSSES, start=_eban_start)
def eban(given: LossInput, *, anchors: int = ANCHORS, dual_rate: float = DUAL_RATE) -> Tensor:
    """bound on the area under precision and recall (Eban et al. 2017), whose λ ascend while weights and b descend

    λ and b, of each class and anchor, are trained by the student's rule, momentum and weight decay included; the
    gradient of λ is multiplied by −dual_rate. |λ| stands for λ, so that no multiplier is negative.
    """
    assert given.scores.of_loss is not None
    multipliers, biases = given.scores.of_loss
    return anchored_loss(given.scores.logits, given.labels, _ascending(multipliers.abs(), dual_rate), biases)


@loss_family("adaptive_eban", losses=AUCPR_LOSSES, needs_teacher=True)
def adaptive_eban(given: LossInput) -> Tensor:
    """bound on the area under precision and recall, whose λ and b, of each anchor, a teacher moves"""
    multipliers, biases = given.coefficients.chunk(2)
    return anchored_loss(given.scores.logits, given.labels, multipliers, biases)


def _ascending(values: Tensor, rate: float) -> Tensor:
    """Return the values, with their gradient times −rate."""
    fixed = values.detach()
    return fixed - rate * (values - fixed)
