"""The gradient ladder on fairseq's own LSTM and Transformer, in float64 and with dropout."""

import pytest
import torch

from fairseq_dlf.core.hypergradient.probe import require_second_derivatives, twice_differentiable
from fairseq_dlf.core.hypergradient.schedules import Binomial, Checkpoints, Everything
from fairseq_dlf.core.hypergradient.student import Point, Student
from fairseq_dlf.core.hypergradient.unroll import Step
from fairseq_dlf.core.support.errors import StateError
from fairseq_dlf.core.teaching.forms import Diagonal
from fairseq_dlf.core.teaching.loss import DynamicLoss
from fairseq_dlf.translation.episodes.checkpoints import translation_objective
from fairseq_dlf.translation.regularisers import RegularisedLoss
from tests.core.hypergradient.ladder import RULES, Episode, by_autograd, by_differences, by_reverse, relative_error


@pytest.fixture
def episode(tiny):
    """Builds a tiny translation episode by architecture name."""

    def build(arch, steps, dropout=0.3):
        made = tiny(arch, dropout)
        pairs = made.task.pairs(3 * steps, seed=5)
        batches = [pairs.collater([pairs[3 * t + i] for i in range(3)]) for t in range(steps)]
        objective = translation_objective(RegularisedLoss(DynamicLoss(Diagonal(), made.task.target_dictionary.pad())))
        made.model.train()
        student = Student(made.model, objective, twice_differentiable)
        phis = 1 + 0.3 * torch.randn(steps, len(made.task.target_dictionary), dtype=torch.float64)
        dev = made.task.pairs(4, seed=9)
        dev, ones = dev.collater([dev[i] for i in range(4)]), torch.ones(phis.size(1), dtype=torch.float64)

        def source(t, phis=phis):
            return Step(phis[t], batches[t], 1000 + t, 0.5 + 0.1 * t)

        return Episode(student, source, phis, lambda params: -student.loss(Point(params, ones, dev, 99)))

    return build


@pytest.mark.parametrize("schedule", [Everything(), Binomial(2)], ids=["everything", "binomial-2"])
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("arch", ["lstm", "transformer"])
def test_equals_autograd_through_the_unroll(episode, arch, rule, schedule):
    made = episode(arch, steps=7)
    assert relative_error(by_reverse(made, rule, schedule).coefficients, by_autograd(made, rule)) <= 1e-10


@pytest.mark.parametrize("arch", ["lstm", "transformer"])
def test_equals_autograd_over_sixteen_steps_and_truncated(episode, arch):
    made, rule = episode(arch, steps=16), RULES["momentum"]
    for truncation in (0, 5):
        found = by_reverse(made, rule, Checkpoints(4), truncation).coefficients
        assert relative_error(found, by_autograd(made, rule, truncation)) <= 1e-10


@pytest.mark.parametrize("arch", ["lstm", "transformer"])
def test_equals_finite_differences_of_the_episode(episode, arch, monkeypatch):
    # fairseq's cross-attention rounds its softmax to float32, which moves in steps
    # far larger than the differences taken here.
    monkeypatch.setattr("fairseq.utils.softmax", lambda x, dim, onnx_trace=False: torch.softmax(x, dim))
    made, rule = episode(arch, steps=5), RULES["momentum"]
    found = by_reverse(made, rule, Everything()).coefficients
    for _ in range(4):
        direction = torch.randn_like(made.phis)
        wanted = by_differences(made, rule, direction)
        assert (found * direction).sum().item() == pytest.approx(wanted, rel=1e-5)


def test_fused_attention_is_refused_and_its_context_cures_it(episode):
    made = episode("transformer", steps=1, dropout=0.0)
    point = made.source(0).at(made.student.flat_params())
    require_second_derivatives(made.student, point)
    bare = Student(made.student.module, made.student.objective)
    with pytest.raises(StateError, match="cannot be differentiated twice, at its layer.*self_attn"):
        require_second_derivatives(bare, point)
