"""Precision and recall of one-against-rest problems, each class a binary one, from exact thresholds."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class Curves(NamedTuple):
    """The images of each class's problem by descending score; equal scores are one threshold.

    Attributes:
        scores: (n, classes), descending.
        precision, recall: of the images with this score or a greater one, (n, classes), float64; the recall of a class
            without images is 0.
        positives: how many images each class has, (classes,).
    """

    scores: Tensor
    precision: Tensor
    recall: Tensor
    positives: Tensor


def curves(logits: Tensor, labels: Tensor) -> Curves:
    """Return precision and recall at every threshold.

    Args:
        logits: (n, classes); those that are no numbers, of a student that has diverged, rank last, all alike.
        labels: (n,), int64.

    Cost: a sort of the images by each class.
    """
    known = logits.detach().nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
    scores, order = known.sort(dim=0, descending=True)
    right = functional.one_hot(labels, logits.size(1)).double().gather(0, order)
    found = right.cumsum(dim=0)
    number = torch.arange(1, len(labels) + 1, device=logits.device, dtype=torch.float64).unsqueeze(1)
    # Of images with one score, the figures are those of the last.
    last = _last_of_equal(scores)
    hits, positives = found.gather(0, last), right.sum(dim=0)
    return Curves(scores, hits / number.expand_as(hits).gather(0, last), hits / positives.clamp(min=1.0), positives)


def average_precisions(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the AUCPR of each class that has an image, (such classes,), float64.

    AUCPR is the average precision Σ_k (R_k − R_{k−1}) P_k over distinct thresholds, which does not interpolate.
    """
    found = curves(logits, labels)
    gained = found.recall.diff(dim=0, prepend=torch.zeros_like(found.recall[:1]))
    return (gained * found.precision).sum(dim=0)[found.positives > 0]


def recalls_at(logits: Tensor, labels: Tensor, precisions: Tensor) -> tuple[Tensor, Tensor]:
    """Return the greatest recall with a precision of at least each of some, and the threshold where it is reached.

    Args:
        precisions: (anchors,), float64.

    Returns:
        Recall and threshold, (anchors, classes) each; a class that never is so precise has recall 0 and its greatest
        score as threshold.
    """
    found = curves(logits, labels)
    enough = found.precision.unsqueeze(0) >= precisions.view(-1, 1, 1)  # (anchors, n, classes)
    # Of equal recalls, the first, whose threshold is the greatest.
    recall, place = torch.where(enough, found.recall, 0.0).max(dim=1)
    return recall, found.scores.gather(0, place)


def _last_of_equal(scores: Tensor) -> Tensor:
    """Return, for each place of columns in order, the last place with the same number, (n, classes)."""
    count = len(scores)
    places = torch.arange(count, device=scores.device).unsqueeze(1).expand_as(scores)
    ends = torch.ones_like(scores, dtype=torch.bool)
    ends[:-1] = scores[:-1] != scores[1:]
    return torch.where(ends, places, count - 1).flip(0).cummin(dim=0).values.flip(0)
