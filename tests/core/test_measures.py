"""Smoothed measures against their definitions."""

import math

import torch

from fairseq_dlf.core.measures import expected_accuracy


def test_expected_accuracy_is_the_probability_of_the_class():
    logits = [[0.5, -1.0, 2.0], [3.0, 0.0, 0.1]]
    labels = [2, 1]
    wanted = [math.exp(row[y]) / sum(map(math.exp, row)) for row, y in zip(logits, labels, strict=True)]
    found = expected_accuracy(torch.tensor(logits, dtype=torch.float64), torch.tensor(labels))
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64), rtol=1e-14, atol=0)
