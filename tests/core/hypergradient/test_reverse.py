"""The gradient ladder: closed form, finite differences, autograd through the unroll, checkpoints."""

import pytest
import torch

from fairseq_dlf.core.hypergradient.curvature import CentralDifference, Exact, ForwardDifference
from fairseq_dlf.core.hypergradient.reverse import NonFiniteCotangentError, reverse
from fairseq_dlf.core.hypergradient.schedules import Binomial, Checkpoints, Everything
from fairseq_dlf.core.hypergradient.storage import OnDevice, OnDisk, OnHost
from fairseq_dlf.core.hypergradient.student import Student
from fairseq_dlf.core.hypergradient.trajectory import TrajectoryPlan
from fairseq_dlf.core.hypergradient.unroll import Step, unroll
from fairseq_dlf.core.hypergradient.update_rules import SGD, Adam

RULES = {
    "sgd": SGD(),
    "sgd-clipped": SGD(clip_norm=0.2),
    "momentum": SGD(momentum=0.9, clip_norm=0.2),
    "nesterov": SGD(momentum=0.9, nesterov=True, weight_decay=0.1, decoupled=True),
    "adamw": Adam(epsilon=1e-3, clip_norm=0.2, weight_decay=0.1, decoupled=True),
}
SCHEDULES = {
    "everything": Everything(),
    "checkpoints-3": Checkpoints(3),
    "checkpoints-16": Checkpoints(16),
    "binomial-2": Binomial(2),
    "binomial-4": Binomial(4),
}


class Quadratic(torch.nn.Module):
    """Two parameters with the loss Σ φ_i ω_i² / 2, whose unroll has a closed form."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))

    def forward(self):
        return self.weight


def test_closed_form_on_a_quadratic():
    """ω_T = Π (1 − ηφ_t) ω_0, hence d(Σω_T)/dφ_t = −η ω_T / (1 − ηφ_t)."""
    student = Student(Quadratic(), lambda forward, phi, batch: (phi * forward().square()).sum() / 2)
    phis = torch.rand(5, 2, dtype=torch.float64)
    rate = 0.3

    def source(t):
        return Step(phis[t], None, t, rate)

    rule, store = SGD(), TrajectoryPlan().open(0, 5)
    done = unroll(student, rule, source, rule.initial(student.flat_params()), 5, trajectory=store)
    factors = 1 - rate * phis
    torch.testing.assert_close(done.final.params, student.flat_params() * factors.prod(0))
    ones = torch.ones(2, dtype=torch.float64)
    found = reverse(student, rule, source, store, Exact(), ones)
    torch.testing.assert_close(found.coefficients, -rate * done.final.params / factors)
    torch.testing.assert_close(found.initial_params, factors.prod(0))


def by_autograd(episode, rule, truncation=0):
    """Plain autograd through the whole unroll, its graph cut before the last `truncation` steps."""
    phis = episode.phis.clone().requires_grad_()
    params = episode.student.flat_params().requires_grad_()
    state = rule.initial(params)
    for t in range(episode.steps):
        if truncation and t == episode.steps - truncation:
            state = type(state)(state.params.detach().requires_grad_(), tuple(s.detach() for s in state.slots))
        step = episode.source(t, phis)
        loss = episode.student.loss(step.at(state.params))
        (gradient,) = torch.autograd.grad(loss, state.params, create_graph=True)
        state = rule.step(state, gradient, step.learning_rate)
    (found,) = torch.autograd.grad(episode.measure(state.params), phis)
    return found


def by_reverse(episode, rule, schedule, truncation=0, curvature=None, make_storage=OnDevice, clip_norm=0.0):
    curvature = curvature or Exact()
    first = episode.steps - truncation if truncation else 0
    trajectory = TrajectoryPlan(schedule, make_storage).open(first, episode.steps, curvature.reuses_gradients)
    start = rule.initial(episode.student.flat_params())
    done = unroll(episode.student, rule, episode.source, start, episode.steps, trajectory=trajectory)
    params = done.final.params.detach().requires_grad_()
    (cotangent,) = torch.autograd.grad(episode.measure(params), params)
    return reverse(episode.student, rule, episode.source, trajectory, curvature, cotangent, clip_norm=clip_norm)


def relative_error(found, wanted):
    assert wanted.norm() > 0
    return ((found - wanted).norm() / wanted.norm()).item()


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("arch", ["lstm", "transformer"])
def test_equals_autograd_through_the_unroll(episode, arch, rule, schedule):
    made = episode(arch, steps=7)
    found = by_reverse(made, rule, schedule)
    assert relative_error(found.coefficients, by_autograd(made, rule)) <= 1e-10


@pytest.mark.parametrize("arch", ["lstm", "transformer"])
def test_equals_autograd_over_sixteen_steps(episode, arch):
    made = episode(arch, steps=16)
    found = by_reverse(made, RULES["momentum"], Checkpoints(4))
    assert relative_error(found.coefficients, by_autograd(made, RULES["momentum"])) <= 1e-10


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("truncation", [1, 3, 6])
def test_truncation_is_the_cut_graph(episode, rule, truncation):
    made = episode("lstm", steps=6)
    found = by_reverse(made, rule, Checkpoints(4), truncation)
    wanted = by_autograd(made, rule, truncation)
    assert relative_error(found.coefficients, wanted) <= 1e-10
    assert not found.coefficients[: 6 - truncation].any()


@pytest.mark.parametrize("arch", ["lstm", "transformer"])
def test_equals_finite_differences_of_the_episode(episode, arch, monkeypatch):
    # fairseq's cross-attention rounds its softmax to float32, which moves in steps
    # far larger than the differences taken here.
    monkeypatch.setattr("fairseq.utils.softmax", lambda x, dim, onnx_trace=False: torch.softmax(x, dim))
    made, rule, h = episode(arch, steps=5), RULES["momentum"], 1e-4
    found = by_reverse(made, rule, Everything()).coefficients

    def final_measure(phis):
        start = rule.initial(made.student.flat_params())
        done = unroll(made.student, rule, lambda t: made.source(t, phis), start, made.steps)
        return made.measure(done.final.params).item()

    for _ in range(4):
        direction = torch.randn_like(made.phis)
        difference = (final_measure(made.phis + h * direction) - final_measure(made.phis - h * direction)) / (2 * h)
        assert (found * direction).sum().item() == pytest.approx(difference, rel=1e-5)


def test_dropout_changes_the_gradient_and_its_seed_fixes_it(episode):
    made = episode("lstm", steps=2)
    step = made.source(0)
    params = made.student.flat_params()
    first = made.student.gradients(step.at(params)).params
    again = made.student.gradients(step.at(params)).params
    other = made.student.gradients(step._replace(seed=step.seed + 1).at(params)).params
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_step_leaves_the_random_numbers_of_the_caller_alone(episode):
    made = episode("lstm", steps=1)
    torch.manual_seed(11)
    wanted = torch.rand(3)
    torch.manual_seed(11)
    made.student.gradients(made.source(0).at(made.student.flat_params()))
    assert torch.equal(torch.rand(3), wanted)


@pytest.mark.parametrize("make_storage", [OnHost, lambda *room: OnDisk(*room, folder=".")], ids=["host", "disk"])
@pytest.mark.parametrize("schedule", [Everything(), Binomial(3)], ids=["everything", "binomial"])
def test_storages_give_the_same_bits(episode, schedule, make_storage, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made, rule = episode("lstm", steps=7), RULES["adamw"]
    found, wanted = (
        by_reverse(made, rule, schedule, curvature=ForwardDifference(), make_storage=make)
        for make in (make_storage, OnDevice)
    )
    assert torch.equal(found.coefficients, wanted.coefficients)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize(("way", "limit"), [(CentralDifference(1e-4), 1e-6), (ForwardDifference(1e-6), 1e-4)])
@pytest.mark.parametrize("rule", [RULES["sgd"], RULES["adamw"]], ids=["sgd", "adamw"])
def test_differences_come_close(episode, rule, way, limit, schedule, monkeypatch):
    monkeypatch.setattr("fairseq.utils.softmax", lambda x, dim, onnx_trace=False: torch.softmax(x, dim))
    made = episode("lstm", steps=6)
    found = by_reverse(made, rule, schedule, curvature=way)
    assert relative_error(found.coefficients, by_autograd(made, rule)) <= limit


def test_clipping_bounds_every_cotangent(episode):
    made = episode("lstm", steps=4)
    free = by_reverse(made, RULES["momentum"], Everything())
    bound = 0.5 * max(free.norms)
    clipped = by_reverse(made, RULES["momentum"], Everything(), clip_norm=bound)
    assert clipped.norms[0] == free.norms[0]
    assert clipped.initial_params.norm() <= bound * (1 + 1e-12)
    assert relative_error(clipped.coefficients[3], free.coefficients[3] * min(1, bound / free.norms[0])) <= 1e-12


def test_a_cotangent_that_is_not_finite_is_named(episode):
    made, rule, store = episode("lstm", steps=2), SGD(), TrajectoryPlan().open(0, 2)
    start = rule.initial(made.student.flat_params())
    unroll(made.student, rule, made.source, start, 2, trajectory=store)
    with pytest.raises(NonFiniteCotangentError, match="not finite at step 2"):
        reverse(made.student, rule, made.source, store, Exact(), torch.full_like(start.params, float("nan")))
