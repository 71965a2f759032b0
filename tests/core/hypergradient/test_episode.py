"""Whole episodes: the chain to the teacher's parameters, collapses, and memory over many episodes."""

import gc

import pytest
import torch

from fairseq_dlf.core.hypergradient.episode import EpisodePlan, MeasuredCotangent, run_episode
from fairseq_dlf.core.hypergradient.probe import twice_differentiable
from fairseq_dlf.core.hypergradient.schedules import Checkpoints
from fairseq_dlf.core.hypergradient.student import Point, Student
from fairseq_dlf.core.hypergradient.trajectory import TrajectoryPlan
from fairseq_dlf.core.hypergradient.unroll import Step
from fairseq_dlf.core.hypergradient.update_rules import SGD
from fairseq_dlf.core.teaching.loss import DiagonalLoss
from fairseq_dlf.core.teaching.teachers.attention import Teacher
from fairseq_dlf.translation.episodes.checkpoints import translation_objective

STEPS = 4
RULE = SGD(momentum=0.9, clip_norm=0.5)


class DevLikelihood:
    """A smooth measure: the mean of σ(log p) over the tokens of a dev batch."""

    def __init__(self, student, batch, types):
        self.student, self.batch = student, batch
        self.ones = torch.ones(types, dtype=torch.float64)

    def __call__(self, params):
        return -self.student.loss(Point(params, self.ones, self.batch, 0))

    def value(self, params):
        with torch.no_grad():
            return self(params).item()

    def value_and_cotangent(self, params):
        params = params.detach().requires_grad_()
        value = self(params)
        return MeasuredCotangent(value.item(), torch.autograd.grad(value, params)[0])


@pytest.fixture
def made(tiny):
    built = tiny("lstm", dropout=0.2)
    types = len(built.task.target_dictionary)
    pairs = built.task.pairs(3 * STEPS + 3, seed=1)
    batches = [pairs.collater([pairs[3 * t + i] for i in range(3)]) for t in range(STEPS + 1)]
    built.model.train()
    objective = translation_objective(DiagonalLoss(built.task.target_dictionary.pad()))
    built.student = Student(built.model, objective, twice_differentiable)
    built.measure = DevLikelihood(built.student, batches[-1], types)
    built.teacher = Teacher(torch.rand(types, 5).double() + 0.5, torch.randn(5, 3).double())
    built.progress = torch.rand(STEPS, 3, dtype=torch.float64)
    built.start = RULE.initial(built.student.flat_params())

    def source(t, rate=0.5):
        coefficients = built.teacher(built.progress[t])
        return Step(coefficients, batches[t], 100 + t, rate)

    def detached(t, rate=0.5):
        step = source(t, rate)
        return step._replace(coefficients=step.coefficients.detach())

    built.source, built.detached = source, detached
    return built


def test_the_surrogate_loss_has_the_gradient_of_the_measure(made):
    """d(Σ⟨Φ_t(θ), dΦ_t⟩)/dθ is autograd's dM̃/dθ through the whole unroll."""
    plan = EpisodePlan(STEPS, trajectory=TrajectoryPlan(Checkpoints(2)), collapse_share=0.0)
    result = run_episode(made.student, RULE, made.detached, made.start, made.measure, plan)
    surrogate = (made.teacher(made.progress) * result.hypergradient.coefficients).sum()
    found = torch.autograd.grad(surrogate, list(made.teacher.parameters()))

    params = made.student.flat_params().requires_grad_()
    state = RULE.initial(params)
    for t in range(STEPS):
        step = made.source(t)
        loss = made.student.loss(step.at(state.params))
        gradient = torch.autograd.grad(loss, state.params, create_graph=True)[0]
        state = RULE.step(state, gradient, step.learning_rate)
    wanted = torch.autograd.grad(made.measure(state.params), list(made.teacher.parameters()))
    for mine, other in zip(found, wanted, strict=True):
        assert other.norm() > 0
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-16)


def test_an_episode_reports_both_measures_and_all_losses(made):
    plan = EpisodePlan(STEPS, collapse_share=0.0)
    result = run_episode(made.student, RULE, made.detached, made.start, made.measure, plan)
    assert result.measure_before == made.measure.value(made.start.params)
    assert result.measure_after == pytest.approx(made.measure.value(result.final.params), rel=1e-12)
    assert result.measure_before != result.measure_after
    assert result.losses.shape == (STEPS,)
    assert len(result.hypergradient.norms) == STEPS + 1
    assert result.collapse is None


def falling(measure):
    """The measure, but falling by two thirds over the episode."""
    values = iter([0.9, 0.3])
    measure.value = lambda params: next(values)
    measure.value_and_cotangent = lambda params: MeasuredCotangent(next(values), torch.ones_like(params))
    return measure


def test_a_falling_measure_is_a_collapse(made):
    plan = EpisodePlan(STEPS, collapse_share=0.5)
    result = run_episode(made.student, RULE, made.detached, made.start, falling(made.measure), plan)
    assert result.hypergradient is None
    assert "fell from 0.9000 to 0.3000, under 0.5 of its start" in result.collapse


def test_a_loss_that_is_not_finite_is_a_collapse(made):
    plan = EpisodePlan(STEPS, collapse_share=0.0)
    rule = SGD()
    result = run_episode(made.student, rule, lambda t: made.detached(t, 1e300), made.start, made.measure, plan)
    assert result.hypergradient is None
    assert "not finite" in result.collapse


def test_memory_does_not_grow_over_fifty_episodes(made):
    def live_tensors():
        gc.collect()
        return sum(1 for thing in gc.get_objects() if isinstance(thing, torch.Tensor))

    plan = EpisodePlan(2, collapse_share=0.0)
    counts = []
    for _ in range(50):
        run_episode(made.student, RULE, made.detached, made.start, made.measure, plan)
        counts.append(live_tensors())
    assert counts[-1] == counts[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"steps": 0}, "steps is 0, but must be at least 1"),
        ({"steps": 5, "truncation": 6}, "the last 6 steps"),
        ({"steps": 5, "truncation": -1}, "the last -1 steps"),
        ({"steps": 5, "collapse_share": 1.0}, "collapse_share is 1.0"),
    ],
)
def test_plans_are_checked(arguments, words):
    with pytest.raises(ValueError, match=words):
        EpisodePlan(**arguments)
