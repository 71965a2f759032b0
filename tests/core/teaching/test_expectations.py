"""Smoothed measures against their definitions."""

import math

import pytest
import torch

from fairseq_dlf.core.teaching.expectations import expected_accuracy, expected_score


@pytest.mark.parametrize("sharpness", [1.0, 2.5])
def test_expected_accuracy_is_the_probability_of_the_class(sharpness):
    logits = [[0.5, -1.0, 2.0], [3.0, 0.0, 0.1]]
    labels = [2, 1]
    wanted = [
        math.exp(sharpness * row[y]) / sum(math.exp(sharpness * score) for score in row)
        for row, y in zip(logits, labels, strict=True)
    ]
    found = expected_accuracy(torch.tensor(logits, dtype=torch.float64), torch.tensor(labels), sharpness)
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64), rtol=1e-14, atol=0)


def test_a_great_sharpness_gives_the_accuracy():
    torch.manual_seed(1)
    logits, labels = torch.randn(50, 4), torch.randint(4, (50,))
    accuracy = (logits.argmax(-1) == labels).float().mean()
    assert abs(expected_accuracy(logits, labels).mean() - accuracy) > 0.005
    torch.testing.assert_close(expected_accuracy(logits, labels, 1e6).mean(), accuracy, rtol=0, atol=1e-3)


def test_expected_score_is_the_mean_over_the_candidates_that_are_there():
    log_probs = torch.tensor([[-1.0, -2.0, -0.5], [-3.0, -1.0, -9.0]], dtype=torch.float64)
    scores = torch.tensor([[0.2, 0.9, 0.4], [0.5, 0.1, math.nan]])
    present = torch.tensor([[True, True, True], [True, True, False]])
    wanted = []
    for row, gains, there in zip(log_probs.tolist(), scores.tolist(), present.tolist(), strict=True):
        weights = [math.exp(2.0 * log_p) if one else 0.0 for log_p, one in zip(row, there, strict=True)]
        total = sum(weight * gain for weight, gain, one in zip(weights, gains, there, strict=True) if one)
        wanted.append(total / sum(weights))
    found = expected_score(log_probs.requires_grad_(), scores, present, sharpness=2.0)
    torch.testing.assert_close(found.detach(), torch.tensor(wanted, dtype=torch.float64), rtol=1e-6, atol=0)
    (gradient,) = torch.autograd.grad(found.sum(), log_probs)
    assert gradient.isfinite().all() and gradient[1, 2] == 0.0
