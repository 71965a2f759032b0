"""Whole episodes: the chain to the teacher's parameters, collapses, and memory over many episodes."""

import gc
import math
from types import SimpleNamespace

import pytest
import torch

from fairseq_dlf.core.hypergradient import episode as episode_module
from fairseq_dlf.core.hypergradient.episode import EpisodePlan, MeasuredCotangent, run_episode
from fairseq_dlf.core.hypergradient.schedules import Binomial, Checkpoints, Everything
from fairseq_dlf.core.hypergradient.trajectory import TrajectoryPlan
from fairseq_dlf.core.hypergradient.unroll import unroll
from fairseq_dlf.core.hypergradient.update_rules import SGD

STEPS = 4
RULE = SGD(momentum=0.9, clip_norm=0.5)


class Likelihood:
    """The measure of a tiny episode, with its gradient."""

    def __init__(self, measure):
        self.measure = measure

    def __call__(self, params):
        return self.measure(params)

    def value(self, params):
        with torch.no_grad():
            return self(params).item()

    def value_and_cotangent(self, params):
        params = params.detach().requires_grad_()
        value = self(params)
        return MeasuredCotangent(value.item(), torch.autograd.grad(value, params)[0])


class Attention(torch.nn.Module):
    """The smallest teacher: Φ = values · softmax(keys · s)."""

    def __init__(self, types, keys, features):
        super().__init__()
        self.values = torch.nn.Parameter(torch.rand(types, keys).double() + 0.5)
        self.keys = torch.nn.Parameter(torch.randn(keys, features).double())

    def forward(self, progress):
        return torch.softmax(progress @ self.keys.T, dim=-1) @ self.values.T


@pytest.fixture
def made(episode):
    tiny = episode("lstm", STEPS, dropout=0.2)
    teacher = Attention(tiny.phis.size(1), 5, 3)
    progress = torch.rand(STEPS, 3, dtype=torch.float64)

    def source(t, rate=0.5):
        return tiny.source(t)._replace(coefficients=teacher(progress[t]), learning_rate=rate)

    def detached(t, rate=0.5):
        step = source(t, rate)
        return step._replace(coefficients=step.coefficients.detach())

    return SimpleNamespace(
        student=tiny.student,
        measure=Likelihood(tiny.measure),
        teacher=teacher,
        progress=progress,
        start=RULE.initial(tiny.student.flat_params()),
        source=source,
        detached=detached,
    )


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


def ending(measure, before, after, slope=1.0):
    """The measure, but with these values before and after the episode."""
    measure.value = lambda params: before
    measure.value_and_cotangent = lambda params: MeasuredCotangent(after, torch.full_like(params, slope))
    return measure


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (0.9, 0.3, "fell from 0.9000 to 0.3000, under 0.4500 by a share of 0.5"),
        (1.0, 0.5, None),
        (0.4, 0.3, None),
        (-3.0, -2.5, None),
        (-3.0, -4.5, None),
        (-3.0, -4.6, "fell from -3.0000 to -4.6000, under -4.5000"),
        (1.0, float("nan"), "the measure after the episode is not a number"),
    ],
)
def test_a_falling_measure_is_a_collapse(made, before, after, words):
    plan = EpisodePlan(STEPS, collapse_share=0.5)
    measure = ending(made.measure, before, after)
    result = run_episode(made.student, RULE, made.detached, made.start, measure, plan)
    assert (result.hypergradient is None) == (words is not None)
    assert (words or "") in (result.collapse or "") and (result.collapse is None) == (words is None)


def test_a_cotangent_that_is_not_finite_is_a_collapse(made):
    measure = ending(made.measure, 1.0, 1.0, slope=float("inf"))
    result = run_episode(made.student, RULE, made.detached, made.start, measure, EpisodePlan(STEPS))
    assert result.hypergradient is None
    assert f"the cotangent is not finite at step {STEPS}" in result.collapse


def test_times_are_those_of_both_passes(made, monkeypatch):
    clock = iter([10.0, 13.0, 18.0])
    monkeypatch.setattr(episode_module, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    result = run_episode(made.student, RULE, made.detached, made.start, made.measure, EpisodePlan(STEPS))
    assert (result.forward_s, result.reverse_s) == (3.0, 5.0)


def test_a_loss_that_is_not_finite_is_a_collapse(made):
    plan = EpisodePlan(STEPS, collapse_share=0.0)
    rule = SGD()
    result = run_episode(made.student, rule, lambda t: made.detached(t, math.inf), made.start, made.measure, plan)
    assert result.hypergradient is None
    assert "not finite" in result.collapse


@pytest.mark.parametrize("graphs", [0, 1])
def test_memory_does_not_grow_over_fifty_episodes(made, graphs):
    def live_tensors():
        gc.collect()
        return sum(1 for thing in gc.get_objects() if isinstance(thing, torch.Tensor))

    plan = EpisodePlan(2, trajectory=TrajectoryPlan(graphs=graphs), collapse_share=0.0)
    counts = []
    for number in range(50):
        run_episode(made.student, RULE, made.detached, made.start, made.measure, plan)
        if number in (1, 49):
            counts.append(live_tensors())
    assert counts[0] == counts[1]


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


@pytest.mark.parametrize(("truncation", "first"), [(0, 0), (2, 3), (5, 0), (1, 4)])
def test_truncation_says_where_the_reverse_pass_ends(truncation, first):
    assert EpisodePlan(5, truncation).first == first


MOMENTUM = SGD(momentum=0.9)


def trained_by_torch(module, source, steps):
    """The same updates by torch's own optimiser, in the module itself."""
    optimizer = torch.optim.SGD(module.parameters(), lr=0.3, momentum=0.9)
    for t in range(steps):
        optimizer.zero_grad()
        step = source(t)
        (step.coefficients * module(step.batch).square()).mean().backward()
        optimizer.step()
    return dict(module.named_buffers())


@pytest.mark.parametrize("schedule", [Everything(), Binomial(2)])
def test_running_figures_are_those_of_plain_training_after_episode_and_replay(normalised, schedule):
    steps = normalised.steps
    student, source, measure, _ = normalised
    plan = EpisodePlan(steps, trajectory=TrajectoryPlan(schedule), collapse_share=0.0)
    untouched = student.buffers()
    result = run_episode(student, MOMENTUM, source, MOMENTUM.initial(student.flat_params()), measure, plan)
    assert result.hypergradient is not None
    for name, buffer in student.module.named_buffers():
        assert torch.equal(buffer, untouched[name]), name
    wanted = trained_by_torch(student.module, source, steps)
    assert int(wanted["1.num_batches_tracked"]) == steps
    for name, buffer in wanted.items():
        torch.testing.assert_close(result.buffers[name], buffer, rtol=1e-12, atol=1e-14)


def test_an_end_under_the_floor_is_a_collapse(normalised):
    steps = normalised.steps
    student, source, measure, _ = normalised
    start = MOMENTUM.initial(student.flat_params())
    end = measure.value(unroll(student, MOMENTUM, source, start, steps).final.params)
    for floor, collapses in ((end - 1e-6, False), (end + 1e-6, True)):
        plan = EpisodePlan(steps, collapse_share=0.0, collapse_floor=floor)
        collapse = run_episode(student, MOMENTUM, source, start, measure, plan).collapse
        assert ("under its floor" in (collapse or "")) == collapses


def test_a_cotangent_that_grows_too_much_is_a_collapse(normalised):
    steps = normalised.steps
    student, source, measure, _ = normalised
    start = MOMENTUM.initial(student.flat_params())
    plain = EpisodePlan(steps, collapse_share=0.0)
    growth = run_episode(student, MOMENTUM, source, start, measure, plain).hypergradient.growth
    for limit, collapses in ((growth, False), (0.99 * growth, True)):
        plan = EpisodePlan(steps, collapse_share=0.0, growth_limit=limit)
        result = run_episode(student, MOMENTUM, source, start, measure, plan)
        assert (result.hypergradient is None) == collapses
        assert ("-fold on its way back, beyond the limit" in (result.collapse or "")) == collapses
