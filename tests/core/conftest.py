"""Tiny episodes of translation, in float64."""

from types import SimpleNamespace

import pytest
import torch

from fairseq_dlf.core.hypergradient.probe import twice_differentiable
from fairseq_dlf.core.hypergradient.student import Point, Student
from fairseq_dlf.core.hypergradient.unroll import Step
from fairseq_dlf.core.teaching.loss import DiagonalLoss
from fairseq_dlf.translation.episodes.checkpoints import translation_objective


@pytest.fixture
def episode(tiny):
    """A tiny translation episode: student, step source with Φ as a leaf, and a smooth measure."""

    def build(arch, steps, dropout=0.3):
        made = tiny(arch, dropout)
        pairs = made.task.pairs(3 * steps, seed=5)
        batches = [pairs.collater([pairs[3 * t + i] for i in range(3)]) for t in range(steps)]
        objective = translation_objective(DiagonalLoss(made.task.target_dictionary.pad()))
        made.model.train()
        student = Student(made.model, objective, twice_differentiable)
        phis = 1 + 0.3 * torch.randn(steps, len(made.task.target_dictionary), dtype=torch.float64)
        dev = made.task.pairs(4, seed=9)
        dev = dev.collater([dev[i] for i in range(4)])

        def measure(params):
            ones = torch.ones(phis.size(1), dtype=torch.float64)
            return -student.loss(Point(params, ones, dev, 99))

        def source(t, phis=phis):
            return Step(phis[t], batches[t], 1000 + t, 0.5 + 0.1 * t)

        return SimpleNamespace(student=student, source=source, phis=phis, measure=measure, steps=steps)

    return build
