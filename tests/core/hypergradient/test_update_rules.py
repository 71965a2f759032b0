"""The rules against torch's optimisers, and their pullbacks against autograd."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fairseq_dlf.core.hypergradient.update_rules import (
    SGD,
    Adam,
    StudentState,
    clip_by_norm,
    pull_back_by_autograd,
)

decays = {
    "clip_norm": st.sampled_from([0.0, 0.3, 100.0]),
    "weight_decay": st.sampled_from([0.0, 0.01, 0.3]),
    "decoupled": st.booleans(),
}
momenta = st.builds(SGD, momentum=st.floats(0.0, 0.99), **decays)
nesterovs = st.builds(SGD, momentum=st.floats(0.1, 0.99), nesterov=st.just(True), **decays)
adams = st.builds(
    Adam,
    betas=st.tuples(st.floats(0.0, 0.99), st.floats(0.5, 0.9999)),
    epsilon=st.sampled_from([1e-8, 1e-3]),
    **decays,
)
rules = st.one_of(st.just(SGD()), momenta, nesterovs, adams)
rates = st.floats(1e-4, 1.0)
seeds = st.integers(0, 2**31)


def torchs_optimizer(rule, parameter):
    """torch's optimiser of the same name; it has no SGD with decoupled decay."""
    decay = {"weight_decay": rule.weight_decay}
    if isinstance(rule, Adam):
        kind = torch.optim.AdamW if rule.decoupled else torch.optim.Adam
        return kind([parameter], betas=rule.betas, eps=rule.epsilon, **decay)
    assume(not (rule.decoupled and rule.weight_decay))
    return torch.optim.SGD([parameter], lr=1.0, momentum=rule.momentum, nesterov=rule.nesterov, **decay)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(rules, st.lists(rates, min_size=1, max_size=4), seeds)
def test_takes_torchs_steps_after_clipping(rule, schedule, seed):
    torch.manual_seed(seed)
    start = torch.randn(9, dtype=torch.float64)
    parameter = torch.nn.Parameter(start.clone())
    optimizer = torchs_optimizer(rule, parameter)
    state = rule.initial(start)
    for step in range(50):
        rate = schedule[step % len(schedule)]
        gradient = torch.randn(9, dtype=torch.float64) / (1 + step % 5)
        # A parameter that is never used, and one that is used late.
        gradient[0], gradient[1] = 0.0, gradient[1] * (step > 20)
        parameter.grad = gradient.clone()
        if rule.clip_norm:
            torch.nn.utils.clip_grad_norm_([parameter], rule.clip_norm)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        state = rule.step(state, gradient, rate)
    torch.testing.assert_close(state.params, parameter.detach(), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("norm", "clipped"), [(5.0 - 1e-5, False), (5.0 - 1e-7, True), (5.0, True), (10.0, True)])
def test_clipping_begins_where_fairseqs_does(norm, clipped):
    """fairseq and torch multiply by bound / (norm + 1e-6) as soon as that is below 1."""
    gradient = torch.tensor([0.6, 0.8], dtype=torch.float64) * norm
    scale = 5.0 / (gradient.norm() + 1e-6)
    assert bool(scale < 1.0) == clipped
    found = clip_by_norm(gradient, 5.0)
    assert torch.equal(found, gradient * scale if clipped else gradient)


def test_decoupled_decay_of_sgd_shrinks_the_weights_alone():
    rule = SGD(weight_decay=0.5, decoupled=True, momentum=0.9)
    after = rule.step(rule.initial(torch.ones(3)), torch.zeros(3), 0.1)
    torch.testing.assert_close(after.params, torch.full((3,), 0.95))
    assert not after.slots[0].any()


def drawn(rule, seed, size=6):
    """A state in the middle of a run, a gradient, and cotangents of the next state."""
    torch.manual_seed(seed)
    state = rule.initial(torch.randn(size, dtype=torch.float64))
    for _ in range(3):
        state = rule.step(state, torch.randn(size, dtype=torch.float64), 0.1)
    bar = StudentState(torch.randn_like(state.params), tuple(torch.randn_like(s) for s in state.slots))
    return state, torch.randn(size, dtype=torch.float64), bar


@settings(deadline=None, max_examples=60, derandomize=True)
@given(rules, rates, seeds)
def test_pullback_equals_autograd_through_the_step(rule, rate, seed):
    state, gradient, bar = drawn(rule, seed)
    found = rule.pull_back(state, lambda: gradient, rate, bar)
    wanted = pull_back_by_autograd(rule, state, gradient, rate, bar)
    pairs = zip([*found.state, found.gradient], [*wanted.state, wanted.gradient], strict=True)
    for got, want in pairs:
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(rules, rates, seeds)
def test_the_gradient_is_asked_for_only_by_rules_that_read_it(rule, rate, seed):
    state, gradient, bar = drawn(rule, seed)
    asked = []
    rule.pull_back(state, lambda: asked.append(1) or gradient, rate, bar)
    assert bool(asked) == rule.reads_gradient


@settings(deadline=None, max_examples=40, derandomize=True)
@given(rules, rates, seeds)
def test_pullback_is_the_transposed_jacobian(rule, rate, seed):
    """Against finite differences of ⟨cotangents, step⟩ along random directions."""
    h = 1e-6
    state, gradient, bar = drawn(rule, seed)
    pulled = rule.pull_back(state, lambda: gradient, rate, bar)
    turn, ahead, *turns = (torch.randn_like(t) for t in (gradient, state.params, *state.slots))
    # In proportion to the slot: a small second moment bends the step within the difference. Adam's
    # count of updates is no direction to differentiate in.
    turns = [t * s.abs() * (s.dim() > 0) for t, s in zip(turns, state.slots, strict=True)]

    def paired(h):
        slots = tuple(s + h * d for s, d in zip(state.slots, turns, strict=True))
        after = rule.step(StudentState(state.params + h * ahead, slots), gradient + h * turn, rate)
        return (bar.params * after.params).sum() + sum(
            (b * a).sum() for b, a in zip(bar.slots, after.slots, strict=True) if a.dim() > 0
        )

    wanted = (paired(h) - paired(-h)) / (2 * h)
    found = (pulled.state.params * ahead).sum() + (pulled.gradient * turn).sum()
    found += sum((s * d).sum() for s, d in zip(pulled.state.slots, turns, strict=True))
    torch.testing.assert_close(found, torch.as_tensor(wanted), rtol=1e-4, atol=1e-5)


def test_an_epsilon_inside_the_root_is_added_to_the_corrected_second_moment():
    rule, rate = Adam((0.5, 0.75), epsilon=0.25, epsilon_root=9.0), 0.1
    state = rule.initial(torch.tensor([1.0, 2.0, 3.0]))
    after = rule.step(state, torch.tensor([4.0, 0.0, -4.0]), rate)
    # m̂ = g and v̂ = g² after one update: √(16 + 9) = 5.
    wanted = torch.tensor([1.0 - 0.1 * 4 / 5.25, 2.0, 3.0 + 0.1 * 4 / 5.25])
    torch.testing.assert_close(after.params, wanted)


def test_an_epsilon_inside_the_root_bounds_the_slope():
    """Where the second moment is far below its square root's bend, plain Adam's slope is that of a sign."""
    gradient = torch.tensor([1e-6], dtype=torch.float64)
    bar = [torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)]
    slopes = {}
    for root in (0.0, 1e-6):
        rule = Adam(epsilon=1e-12, epsilon_root=root)
        state = rule.initial(torch.ones(1, dtype=torch.float64))
        state = rule.step(state, 2 * gradient, 0.1)
        ones = StudentState(bar[0], (*bar[1:], torch.zeros(())))
        slopes[root] = abs(rule.pull_back(state, lambda: gradient, 0.1, ones).gradient.item())
    assert slopes[1e-6] < 1e-2 * slopes[0.0]


def test_adam_is_flat_where_there_has_never_been_a_gradient():
    rule = Adam()
    state, gradient = rule.initial(torch.ones(3)), torch.tensor([0.0, 1e-3, -2.0])
    ones = StudentState(torch.ones(3), (torch.ones(3), torch.ones(3), torch.tensor(0.0)))
    found = rule.pull_back(state, lambda: gradient, 0.1, ones)
    for tensor in (found.gradient, found.state.params, *found.state.slots):
        assert tensor.isfinite().all()
    of_params_alone = StudentState(torch.ones(3), tuple(torch.zeros_like(slot) for slot in ones.slots))
    found = rule.pull_back(state, lambda: gradient, 0.1, of_params_alone)
    assert found.gradient[0] == 0.0 and found.gradient[1] != 0.0
    assert rule.step(state, gradient, 0.1).params[0] == 1.0


@pytest.mark.parametrize(
    ("rule", "arguments", "words"),
    [
        (SGD, {"momentum": 1.0}, "momentum is 1.0"),
        (SGD, {"clip_norm": -1.0}, "clip_norm is -1.0"),
        (SGD, {"weight_decay": float("nan")}, "weight_decay is nan"),
        (SGD, {"nesterov": True}, "momentum 0"),
        (Adam, {"betas": (0.9, 1.0)}, "beta2 is 1.0"),
        (Adam, {"betas": (-0.1, 0.9)}, "beta1 is -0.1"),
        (Adam, {"epsilon": 0.0}, "epsilon is 0.0"),
        (Adam, {"weight_decay": -1.0}, "weight_decay is -1.0"),
        (Adam, {"epsilon_root": -1e-6}, "epsilon_root is -1e-06"),
    ],
)
def test_refuses_rates_out_of_range(rule, arguments, words):
    with pytest.raises(ValueError, match=words):
        rule(**arguments)
