"""The gradient ladder: closed form, finite differences, autograd through the unroll, checkpoints."""

import pytest
import torch

from fairseq_dlf.core.hypergradient.curvature import CentralDifference, Exact, ForwardDifference
from fairseq_dlf.core.hypergradient.episode import EpisodePlan, run_episode
from fairseq_dlf.core.hypergradient.reverse import Hypergradient, NonFiniteCotangentError, reverse, reverse_several
from fairseq_dlf.core.hypergradient.schedules import Binomial, Checkpoints, Everything
from fairseq_dlf.core.hypergradient.storage import OnDevice, OnDisk, OnHost
from fairseq_dlf.core.hypergradient.student import Point, Student
from fairseq_dlf.core.hypergradient.trajectory import TrajectoryPlan
from fairseq_dlf.core.hypergradient.unroll import Step, unroll
from fairseq_dlf.core.hypergradient.update_rules import SGD
from tests.core.hypergradient.ladder import RULES, SCHEDULES, by_autograd, by_differences, by_reverse, relative_error


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


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("arch", ["lstm", "attention"])
def test_equals_autograd_through_the_unroll(episode, arch, rule, schedule):
    made = episode(arch, steps=7)
    found = by_reverse(made, rule, schedule)
    assert relative_error(found.coefficients, by_autograd(made, rule)) <= 1e-10


@pytest.mark.parametrize("arch", ["lstm", "attention"])
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


@pytest.mark.parametrize("arch", ["lstm", "attention"])
def test_equals_finite_differences_of_the_episode(episode, arch):
    made, rule = episode(arch, steps=5), RULES["momentum"]
    found = by_reverse(made, rule, Everything()).coefficients
    for _ in range(4):
        direction = torch.randn_like(made.phis)
        wanted = by_differences(made, rule, direction)
        assert (found * direction).sum().item() == pytest.approx(wanted, rel=1e-5)


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
def test_differences_come_close(episode, rule, way, limit, schedule):
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


def test_a_cotangent_that_overflows_on_its_way_is_named_with_its_step():
    student, source = grown(factor=1e150)
    with pytest.raises(NonFiniteCotangentError, match="not finite at step 1"):
        backward(student, source, SGD(), 3)


def grown(factor):
    """The quadratic with Φ so negative that each plain update multiplies ω and its cotangent by a factor."""
    student = Student(Quadratic(), lambda forward, phi, batch: (phi * forward().square()).sum() / 2)
    phi = torch.full((2,), 1.0 - factor, dtype=torch.float64)
    return student, lambda t: Step(phi, None, t, 1.0)


def backward(student, source, rule, steps, **options):
    store = TrajectoryPlan().open(0, steps)
    start = rule.initial(student.flat_params() * 1e-250)
    unroll(student, rule, source, start, steps, trajectory=store)
    ones = torch.ones(2, dtype=torch.float64)
    return reverse(student, rule, source, store, Exact(), ones, **options)


def test_clipping_scales_all_that_comes_after_it_the_slots_included():
    """The pass is linear: what is clipped once is the free pass times one factor from there on."""
    student, source = grown(factor=1.5)
    rule = SGD(momentum=0.9)
    free = backward(student, source, rule, 3)
    assert free.norms[0] < free.norms[1] < free.norms[2]
    # Between the first two norms, so that the last step's is the first to be clipped.
    bound = (free.norms[0] + free.norms[1]) / 2
    clipped = backward(student, source, rule, 3, clip_norm=bound)
    factor = bound / free.norms[1]
    torch.testing.assert_close(clipped.coefficients[2], free.coefficients[2], rtol=1e-12, atol=0.0)
    torch.testing.assert_close(clipped.coefficients[1], factor * free.coefficients[1], rtol=1e-12, atol=0.0)
    assert clipped.norms[2] == pytest.approx(factor * free.norms[2], rel=1e-12)


def test_leverage_and_growth():
    found = Hypergradient(torch.tensor([[1.0, -2.0], [3.0, 1.0]]), torch.ones(1), [2.0, 5.0, 6.0])
    assert found.leverage == 5.0
    assert found.growth == 3.0


def test_equals_autograd_through_batch_normalisation(normalised):
    steps, rule = normalised.steps, SGD(momentum=0.9)
    student, source, measure, coefficients = normalised
    plan = EpisodePlan(steps, trajectory=TrajectoryPlan(Binomial(3)), collapse_share=0.0)
    start = rule.initial(student.flat_params())
    found = run_episode(student, rule, source, start, measure, plan).hypergradient.coefficients
    leaf = coefficients.clone().requires_grad_()
    state = rule.initial(student.flat_params().requires_grad_())
    for t in range(steps):
        loss = student.loss(Point(state.params, leaf[t], source(t).batch, 0))
        state = rule.step(state, torch.autograd.grad(loss, state.params, create_graph=True)[0], 0.3)
    (wanted,) = torch.autograd.grad(measure(state.params), leaf)
    assert wanted.norm() > 1e-4
    assert (found - wanted).norm() / wanted.norm() < 1e-10


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("schedule", [Everything(), Binomial(2)], ids=["everything", "binomial"])
@pytest.mark.parametrize("way", [Exact(), Exact(reuses_gradients=True), CentralDifference(), ForwardDifference()])
@pytest.mark.parametrize("rule", [RULES["sgd"], RULES["sgd-clipped"], RULES["adamw"]], ids=["sgd", "clipped", "adamw"])
def test_several_cotangents_share_a_pass_and_get_the_bits_of_their_own(episode, rule, way, schedule, parts):
    made = episode("lstm", steps=4)
    student = made.student.in_parts(lambda tokens: tokens.tensor_split(parts))
    cotangents = [torch.randn_like(student.flat_params()) for _ in range(3)]

    def back(pull):
        trajectory = TrajectoryPlan(schedule).open(1, made.steps, way.reuses_gradients)
        start = rule.initial(student.flat_params())
        unroll(student, rule, made.source, start, made.steps, trajectory=trajectory)
        return pull(student, rule, made.source, trajectory, way)

    shared = back(lambda *given: reverse_several(*given, cotangents, clip_norm=2.0))
    for cotangent, found in zip(cotangents, shared, strict=True):
        wanted = back(lambda *given, own=cotangent: reverse(*given, own, clip_norm=2.0))
        assert wanted.coefficients[1:].norm() > 0
        assert torch.equal(found.coefficients, wanted.coefficients)
        assert torch.equal(found.initial_params, wanted.initial_params)
        assert found.norms == wanted.norms
