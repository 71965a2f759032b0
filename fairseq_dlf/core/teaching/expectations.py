"""Smoothed measures M̃: differentiable substitutes for the measures that teaching is to raise."""

import torch
from torch import Tensor


def expected_accuracy(logits: Tensor, labels: Tensor, sharpness: float = 1.0) -> Tensor:
    """Return the accuracy of a class drawn from the student's distribution: q(y) of each example, q ∝ p^sharpness.

    Args:
        logits: (examples, classes), with a graph.
        labels: (examples,), int64.
        sharpness: β > 0; 1 is the paper's measure, which confidence alone can raise. The greater β,
            the more only examples near a decision boundary count; the limit is accuracy.

    Returns:
        (examples,), the dtype of logits.

    Paper: section 4.1 (smoothed accuracy).
    """
    return torch.softmax(sharpness * logits, dim=-1).gather(1, labels.unsqueeze(1)).squeeze(1)


def expected_score(log_probs: Tensor, scores: Tensor, present: Tensor, sharpness: float) -> Tensor:
    """Return E_q[score] under q = softmax over candidates of sharpness · log p.

    Args:
        log_probs: log p_ω of each candidate, (inputs, candidates), with a graph.
        scores: the measure of each candidate, (inputs, candidates), without a graph.
        present: False in slots without a candidate, (inputs, candidates), bool; every input needs
            at least one candidate.
        sharpness: α > 0.

    Returns:
        (inputs,), the dtype of log_probs.

    Paper: section 4.1 (smoothed BLEU), with the support restricted to the candidates.
    """
    weights = torch.softmax((sharpness * log_probs).masked_fill(~present, float("-inf")), dim=-1)
    return (weights * scores.to(weights.dtype).masked_fill(~present, 0.0)).sum(dim=-1)


def others_mean(scores: Tensor, present: Tensor) -> Tensor:
    """Return the mean score of the other samples of the same input: the leave-one-out baseline of a score function.

    Args:
        scores: of each sample, (inputs, samples).
        present: False in slots without a sample, (inputs, samples), bool; every input needs at least two samples.

    Returns:
        (inputs, samples); 0 in empty slots.
    """
    scores, number = scores.masked_fill(~present, 0.0), present.sum(dim=1, keepdim=True)
    return ((scores.sum(dim=1, keepdim=True) - scores) / (number - 1)).masked_fill(~present, 0.0)
