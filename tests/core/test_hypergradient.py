"""The gradient ladder: closed form, finite differences, autograd through the unroll, checkpoints."""

from types import SimpleNamespace

import pytest
import torch

from fairseq_dlf.core.curvature import Exact, require_second_derivatives, twice_differentiable
from fairseq_dlf.core.hypergradient import NonFiniteCotangentError, Step, reverse, unroll
from fairseq_dlf.core.loss import DiagonalLoss
from fairseq_dlf.core.student import Student
from fairseq_dlf.core.trajectory import Checkpoints, Everything
from fairseq_dlf.core.update_rules import SGD
from fairseq_dlf.translation.students import translation_objective

RULES = {"sgd": SGD(), "sgd-clipped": SGD(clip_norm=0.2), "momentum": SGD(momentum=0.9, clip_norm=0.2)}
STORES = {"everything": Everything, "checkpoints-3": lambda: Checkpoints(3), "checkpoints-16": lambda: Checkpoints(16)}


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

    rule, store = SGD(), Everything()
    done = unroll(student, rule, rule.initial(student.flat_params()), 5, source, store)
    factors = 1 - rate * phis
    torch.testing.assert_close(done.final.params, student.flat_params() * factors.prod(0))
    ones = torch.ones(2, dtype=torch.float64)
    found = reverse(student, rule, Exact(), store, 5, source, ones)
    torch.testing.assert_close(found.coefficients, -rate * done.final.params / factors)
    torch.testing.assert_close(found.initial_params, factors.prod(0))


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
            return -student.loss(params, ones, dev, seed=99)

        def source(t, phis=phis):
            return Step(phis[t], batches[t], 1000 + t, 0.5 + 0.1 * t)

        return SimpleNamespace(student=student, source=source, phis=phis, measure=measure, steps=steps)

    return build


def by_autograd(episode, rule, truncation=0):
    """Plain autograd through the whole unroll, its graph cut before the last `truncation` steps."""
    phis = episode.phis.clone().requires_grad_()
    params = episode.student.flat_params().requires_grad_()
    state = rule.initial(params)
    for t in range(episode.steps):
        if truncation and t == episode.steps - truncation:
            state = type(state)(state.params.detach().requires_grad_(), tuple(s.detach() for s in state.slots))
        step = episode.source(t, phis)
        loss = episode.student.loss(state.params, step.coefficients, step.batch, step.seed)
        (gradient,) = torch.autograd.grad(loss, state.params, create_graph=True)
        state = rule.step(state, gradient, step.learning_rate)
    (found,) = torch.autograd.grad(episode.measure(state.params), phis)
    return found


def by_reverse(episode, rule, store, truncation=0):
    start = rule.initial(episode.student.flat_params())
    done = unroll(episode.student, rule, start, episode.steps, episode.source, store)
    params = done.final.params.detach().requires_grad_()
    (cotangent,) = torch.autograd.grad(episode.measure(params), params)
    return reverse(episode.student, rule, Exact(), store, episode.steps, episode.source, cotangent, truncation)


def relative_error(found, wanted):
    assert wanted.norm() > 0
    return ((found - wanted).norm() / wanted.norm()).item()


@pytest.mark.parametrize("store", STORES.values(), ids=STORES)
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("arch", ["lstm", "transformer"])
def test_equals_autograd_through_the_unroll(episode, arch, rule, store):
    made = episode(arch, steps=7)
    found = by_reverse(made, rule, store())
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
        done = unroll(made.student, rule, start, made.steps, lambda t: made.source(t, phis))
        return made.measure(done.final.params).item()

    for _ in range(4):
        direction = torch.randn_like(made.phis)
        difference = (final_measure(made.phis + h * direction) - final_measure(made.phis - h * direction)) / (2 * h)
        assert (found * direction).sum().item() == pytest.approx(difference, rel=1e-5)


def test_dropout_changes_the_gradient_and_its_seed_fixes_it(episode):
    made = episode("lstm", steps=2)
    step = made.source(0)
    params = made.student.flat_params()
    first = made.student.gradient(params, *step[:3])[1]
    again = made.student.gradient(params, *step[:3])[1]
    other = made.student.gradient(params, step.coefficients, step.batch, step.seed + 1)[1]
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_step_leaves_the_random_numbers_of_the_caller_alone(episode):
    made = episode("lstm", steps=1)
    torch.manual_seed(11)
    wanted = torch.rand(3)
    torch.manual_seed(11)
    made.student.gradient(made.student.flat_params(), *made.source(0)[:3])
    assert torch.equal(torch.rand(3), wanted)


def test_trajectories_yield_the_same_states(episode):
    made, rule = episode("lstm", steps=7), SGD(momentum=0.9)

    def states(store, first):
        start = rule.initial(made.student.flat_params())
        unroll(made.student, rule, start, 7, made.source, store)

        def replay(t, state):
            step = made.source(t)
            return rule.step(state, made.student.gradient(state.params, *step[:3])[1], step.learning_rate)

        return list(store.backward(first, 7, replay))

    for first in (0, 2, 5):
        whole, sparse = states(Everything(), first), states(Checkpoints(3), first)
        assert [t for t, _ in whole] == [t for t, _ in sparse] == list(range(6, first - 1, -1))
        assert all(torch.equal(a.params, b.params) for (_, a), (_, b) in zip(whole, sparse, strict=True))


def test_a_cotangent_that_is_not_finite_is_named(episode):
    made, rule, store = episode("lstm", steps=2), SGD(), Everything()
    start = rule.initial(made.student.flat_params())
    unroll(made.student, rule, start, 2, made.source, store)
    with pytest.raises(NonFiniteCotangentError, match="not finite at step 2"):
        reverse(made.student, rule, Exact(), store, 2, made.source, torch.full_like(start.params, float("nan")))


@pytest.mark.parametrize("truncation", [-1, 3])
def test_refuses_a_truncation_out_of_range(episode, truncation):
    made = episode("lstm", steps=2)
    with pytest.raises(ValueError, match=f"truncation is {truncation}"):
        by_reverse(made, SGD(), Everything(), truncation)


def test_refuses_checkpoints_every_zero_steps():
    with pytest.raises(ValueError, match="every 0 steps"):
        Checkpoints(0)


class Once(torch.autograd.Function):
    """tanh whose derivative has no derivative."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.tanh()

    @staticmethod
    def backward(ctx, cotangent):
        return OnceBackward.apply(cotangent, *ctx.saved_tensors)


class OnceBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, cotangent, x):
        return cotangent * (1 - x.tanh().square())

    @staticmethod
    def backward(ctx, cotangent):
        raise RuntimeError("derivative for once is not implemented")


class MarkedOnce(Once):
    """tanh whose backward is marked as once differentiable."""

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, cotangent):
        return cotangent * (1 - ctx.saved_tensors[0].tanh().square())


class Applied(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function.apply(x)


@pytest.mark.parametrize(("function", "words"), [(Once, "once is not implemented"), (MarkedOnce, "marked as once")])
def test_a_layer_without_second_derivative_is_named(function, words):
    module = torch.nn.Sequential(torch.nn.Linear(2, 2), Applied(function), torch.nn.Linear(2, 1))
    student = Student(module, lambda forward, phi, batch: (phi * forward(batch)).square().mean())
    with pytest.raises(RuntimeError, match=f"layer '1'.*{words}"):
        require_second_derivatives(student, student.flat_params(), torch.ones(1), torch.rand(3, 2), seed=0)


def test_fused_attention_is_refused_and_its_context_cures_it(episode):
    made = episode("transformer", steps=1, dropout=0.0)
    step = made.source(0)
    arguments = (made.student.flat_params(), *step[:3])
    require_second_derivatives(made.student, *arguments)
    bare = Student(made.student.module, made.student.objective)
    with pytest.raises(RuntimeError, match="cannot be differentiated twice, at its layer.*self_attn"):
        require_second_derivatives(bare, *arguments)


def test_a_student_without_parameters_is_refused():
    module = torch.nn.Linear(2, 2).requires_grad_(False)
    with pytest.raises(ValueError, match="no trainable parameters"):
        Student(module, lambda forward, phi, batch: forward(batch).sum())
