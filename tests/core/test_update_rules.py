"""The rules against torch's optimisers, and their pullbacks against autograd."""

import pytest
import torch

from fairseq_dlf.core.update_rules import SGD, StudentState, pull_back

RULES = {
    "plain": SGD(),
    "clipped": SGD(clip_norm=0.5),
    "momentum": SGD(momentum=0.9),
    "all": SGD(momentum=0.8, clip_norm=0.5, weight_decay=0.01),
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_takes_torchs_steps_after_clipping(rule):
    start = torch.randn(9, dtype=torch.float64)
    parameter = torch.nn.Parameter(start.clone())
    optimizer = torch.optim.SGD([parameter], lr=0.1, momentum=rule.momentum, weight_decay=rule.weight_decay)
    state = rule.initial(start)
    for step in range(50):
        gradient = torch.randn(9, dtype=torch.float64) / (1 + step % 5)
        parameter.grad = gradient.clone()
        if rule.clip_norm:
            torch.nn.utils.clip_grad_norm_([parameter], rule.clip_norm)
        optimizer.step()
        state = rule.step(state, gradient, 0.1)
    torch.testing.assert_close(state.params, parameter.detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_pullback_is_the_transposed_jacobian(rule):
    """Against finite differences of ⟨cotangents, step⟩ along random directions."""
    size, rate, h = 6, 0.3, 1e-6
    state = rule.initial(torch.randn(size, dtype=torch.float64))
    state = StudentState(state.params, tuple(torch.randn_like(s) for s in state.slots))
    gradient = torch.randn(size, dtype=torch.float64)
    bar = StudentState(torch.randn_like(state.params), tuple(torch.randn_like(s) for s in state.slots))
    pulled = pull_back(rule, state, gradient, rate, bar)

    def paired(state, gradient):
        after = rule.step(state, gradient, rate)
        return sum((b * a).sum() for b, a in zip([bar.params, *bar.slots], [after.params, *after.slots], strict=True))

    direction = StudentState(torch.randn_like(state.params), tuple(torch.randn_like(s) for s in state.slots))
    turn = torch.randn_like(gradient)

    def moved(h):
        params = state.params + h * direction.params
        slots = tuple(s + h * d for s, d in zip(state.slots, direction.slots, strict=True))
        return paired(StudentState(params, slots), gradient + h * turn)

    wanted = (moved(h) - moved(-h)) / (2 * h)
    found = (pulled.state.params * direction.params).sum() + (pulled.gradient * turn).sum()
    found += sum((s * d).sum() for s, d in zip(pulled.state.slots, direction.slots, strict=True))
    torch.testing.assert_close(found, wanted, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"momentum": 1.0}, "momentum is 1.0"),
        ({"clip_norm": -1.0}, "clip_norm is -1.0"),
        ({"weight_decay": float("nan")}, "weight_decay is nan"),
    ],
)
def test_refuses_rates_out_of_range(arguments, words):
    with pytest.raises(ValueError, match=words):
        SGD(**arguments)
