"""Losses of embeddings, over all pairs or triplets of a batch, with plain or weighted distances."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from fairseq_dlf.core.support.checks import require_at_least
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.images.losses.registry import Losses, LossInput, loss_family

METRIC_LOSSES = Losses("loss", options_setting="loss_options")
# η of triplets, α and β of pairs: Wu et al. 2017 take 0.2 and start β at 1.2, on embeddings of length 1.
MARGIN, BOUNDARY = 0.2, 1.2
# Sharpness of close and of far pairs, and where the two meet; ours, since none are published.
POSITIVE_FOCUS, NEGATIVE_FOCUS, MEETING = 2.0, 10.0, 1.0
# All triplets of a batch are held at once: about a gigabyte of this many images.
MOST_IMAGES = 400
# Below this the slope of a distance is nothing but rounding.
LEAST_DISTANCE = 1e-3


class Pairs(NamedTuple):
    """Distances of a batch.

    Attributes:
        distances: (n, n), in [LEAST_DISTANCE, 2].
        positive: whether two different images share their class, (n, n), in the dtype of the distances.
        negative: whether they do not, (n, n).
    """

    distances: Tensor
    positive: Tensor
    negative: Tensor


def pairs_of(logits: Tensor, labels: Tensor) -> Pairs:
    """Return Euclidean distances between embeddings, which are logits of length 1.

    Args:
        logits: (n, classes), the embedding before it is normalised.
        labels: (n,), int64.

    Cost: n² numbers, several times.
    """
    embedded = functional.normalize(logits, dim=1)
    distances = (2.0 - 2.0 * embedded @ embedded.T).clamp_min(LEAST_DISTANCE**2).sqrt()
    same = labels.unsqueeze(0) == labels.unsqueeze(1)
    other = ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    return Pairs(distances, (same & other).to(distances), (~same).to(distances))


def shapes_of(distances: Tensor) -> Tensor:
    """Return five increasing functions of distances, each from 0 at 0 to 2 at 2: (…, 5).

    d, d²/2, √(2d), 2 (eᵈ − 1) / (e² − 1) and 2 log(1 + d) / log 3. Huang et al. 2019 mix five monotone functions
    without naming them; these are ours.
    """
    d = distances
    return torch.stack(
        [
            d,
            d.square() / 2.0,
            (2.0 * d).sqrt(),
            2.0 * torch.expm1(d) / math.expm1(2.0),
            2.0 * torch.log1p(d) / math.log(3.0),
        ],
        dim=-1,
    )


SHAPES = 5


def triplet_loss(pairs: Pairs, values: Tensor, margin: float) -> Tensor:
    """Return max(0, F(d⁺) − F(d⁻) + η), mean over all triplets of a batch; 0 where it has none.

    Args:
        values: F of the distances, (n, n).
    """
    if len(values) > MOST_IMAGES:
        raise InputError(
            f"a batch of {len(values)} images has too many triplets: take {MOST_IMAGES} or fewer, or a loss of pairs",
            setting="batch_size",
        )
    wanted = pairs.positive.unsqueeze(2) * pairs.negative.unsqueeze(1)  # (anchor, positive, negative)
    losses = functional.relu(values.unsqueeze(2) - values.unsqueeze(1) + margin)
    return (wanted * losses).sum() / wanted.sum().clamp(min=1.0)


def margin_loss(pairs: Pairs, values: Tensor, boundary: Tensor | float, margin: float) -> Tensor:
    """Return max(0, α + F(d⁺) − F(β)) and max(0, α − F(d⁻) + F(β)), the mean of the two means over pairs.

    Args:
        values: F of the distances, (n, n).
        boundary: F(β).

    Source: Wu et al. 2017, equation 5; all pairs of a batch, in place of their distance-weighted sampling, and a β that
        is not learnt are ours.
    """
    close = functional.relu(margin + values - boundary)
    far = functional.relu(margin - values + boundary)
    return 0.5 * (_mean(close, pairs.positive) + _mean(far, pairs.negative))


def focal_loss(pairs: Pairs, positive: Tensor | float, negative: Tensor | float, meeting: float) -> Tensor:
    """Return (1/Φ₁) log[1 + Σ exp(Φ₁ (d⁺ − α))] + (1/Φ₂) log[1 + Σ exp(−Φ₂ (d⁻ − α))], mean over anchors.

    Source: Huang et al. 2019, focal weighting.
    """
    beyond = pairs.distances - meeting
    return (_soft_sum(beyond, pairs.positive, positive) + _soft_sum(-beyond, pairs.negative, negative)).mean()


@loss_family("triplet", losses=METRIC_LOSSES)
def triplet(given: LossInput, *, margin: float = MARGIN) -> Tensor:
    """triplets of a batch, max(0, d⁺ − d⁻ + margin), mean over all of them"""
    require_at_least(0, margin=margin)
    pairs = pairs_of(given.scores.logits, given.labels)
    return triplet_loss(pairs, pairs.distances, margin)


@loss_family("margin", losses=METRIC_LOSSES)
def margin(given: LossInput, *, margin: float = MARGIN, boundary: float = BOUNDARY) -> Tensor:
    """pairs of a batch, max(0, margin ± (d − boundary)) (Wu et al. 2017), mean over close and over far pairs"""
    require_at_least(0, margin=margin, boundary=boundary)
    pairs = pairs_of(given.scores.logits, given.labels)
    return margin_loss(pairs, pairs.distances, boundary, margin)


@loss_family("focal", losses=METRIC_LOSSES)
def focal(given: LossInput, *, positive: float = POSITIVE_FOCUS, negative: float = NEGATIVE_FOCUS) -> Tensor:
    """pairs of a batch by soft maxima of sharpness positive and negative (Huang et al. 2019), mean over images"""
    for name, value in (("positive", positive), ("negative", negative)):
        if not value > 0.0:
            raise InputError(f"the option {name} is {value:g}, but must be positive", setting="loss_options")
    return focal_loss(pairs_of(given.scores.logits, given.labels), positive, negative, MEETING)


@loss_family("adaptive_triplet", losses=METRIC_LOSSES, needs_teacher=True)
def adaptive_triplet(given: LossInput) -> Tensor:
    """triplets whose distance is a mixture of five increasing functions, which a teacher weights"""
    pairs = pairs_of(given.scores.logits, given.labels)
    return triplet_loss(pairs, shapes_of(pairs.distances) @ given.coefficients, MARGIN)


@loss_family("adaptive_margin", losses=METRIC_LOSSES, needs_teacher=True)
def adaptive_margin(given: LossInput) -> Tensor:
    """pairs by margin, whose distance is a mixture of five increasing functions, which a teacher weights"""
    pairs = pairs_of(given.scores.logits, given.labels)
    boundary = shapes_of(pairs.distances.new_tensor(BOUNDARY)) @ given.coefficients
    return margin_loss(pairs, shapes_of(pairs.distances) @ given.coefficients, boundary, MARGIN)


@loss_family("adaptive_focal", losses=METRIC_LOSSES, needs_teacher=True)
def adaptive_focal(given: LossInput) -> Tensor:
    """pairs by soft maxima, whose two sharpnesses a teacher moves"""
    positive, negative = given.coefficients
    return focal_loss(pairs_of(given.scores.logits, given.labels), positive, negative, MEETING)


def _mean(losses: Tensor, wanted: Tensor) -> Tensor:
    return (losses * wanted).sum() / wanted.sum().clamp(min=1.0)


def _soft_sum(beyond: Tensor, wanted: Tensor, sharpness: Tensor | float) -> Tensor:
    """Return (1/Φ) log[1 + Σ exp(Φ x)] over the wanted pairs of each image, (n,)."""
    powers = (sharpness * beyond).masked_fill(wanted == 0.0, -math.inf)
    return torch.logsumexp(functional.pad(powers, (0, 1)), dim=1) / sharpness
