"""The same episodes by other means: plain training, autograd through the unroll, higher, torchopt.

Packages that only a comparison needs are imported where it is made.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from benchmarks import cases, ours
from benchmarks.cases import LEARNING_RATE, Case
from fairseq_dlf.core.hypergradient.probe import twice_differentiable

# In float64, relative to the norm of dΦ.
TOLERANCE = 1e-8
CHECKED_STEPS = 4


class PeerDisagreesError(RuntimeError):
    """A peer's hypergradient is not ours: one of the two is wrong, and no time is worth reading."""


def train_plainly(case: Case, module: nn.Module, steps: int) -> Tensor:
    """Return ω_T by torch.optim.SGD on a copy of the case's module, whose parameters are reset first."""
    module.load_state_dict(case.module.state_dict())
    optimizer = torch.optim.SGD(module.parameters(), lr=LEARNING_RATE)
    phis = case.phis(steps)
    for t in range(steps):
        torch.manual_seed(case.seed(t))
        optimizer.zero_grad()
        case.objective(module, phis[t], case.batch(t)).backward()
        optimizer.step()
    return torch.cat([p.detach().reshape(-1) for p in module.parameters()])


def by_autograd(case: Case, steps: int) -> Tensor:
    """Keep the graph of all updates and go back through it at once."""

    def update(params: dict[str, Tensor], gradients: tuple[Tensor, ...]) -> dict[str, Tensor]:
        moved = zip(params.items(), gradients, strict=True)
        return {name: value - LEARNING_RATE * gradient for (name, value), gradient in moved}

    return _through_the_unroll(case, steps, update)


def by_torchopt(case: Case, steps: int) -> Tensor:
    """Use torchopt's functional SGD; its MetaSGD does not reach the weights that torch's LSTM keeps in a list."""
    import torchopt

    rule = torchopt.sgd(lr=LEARNING_RATE)
    state = rule.init(dict(case.module.named_parameters()))

    def update(params: dict[str, Tensor], gradients: tuple[Tensor, ...]) -> dict[str, Tensor]:
        nonlocal state
        named = dict(zip(params, gradients, strict=True))
        updates, state = rule.update(named, state, inplace=False)
        return torchopt.apply_updates(params, updates, inplace=False)

    return _through_the_unroll(case, steps, update)


def by_higher(case: Case, steps: int) -> Tensor:
    """Use higher's patched module and differentiable optimiser."""
    import higher

    phis = _leaves(case, steps)
    optimizer = torch.optim.SGD(case.module.parameters(), lr=LEARNING_RATE)
    with twice_differentiable(), higher.innerloop_ctx(case.module, optimizer) as (module, differentiable):
        for t in range(steps):
            torch.manual_seed(case.seed(t))
            differentiable.step(case.objective(module, phis[t], case.batch(t)))
        return _pull_to(phis, case, list(module.parameters()))


PEERS: Mapping[str, Callable[[Case, int], Tensor]] = {
    "autograd": by_autograd,
    "higher": by_higher,
    "torchopt": by_torchopt,
}


def error_of(peer: str, student: str) -> float:
    """Return the relative difference between a peer's dΦ and ours on a small student in float64."""
    case = cases.build(student, "small").double()
    wanted = ours.episode(case, CHECKED_STEPS)
    return float((PEERS[peer](case, CHECKED_STEPS) - wanted).norm() / wanted.norm())


def check(peer: str, student: str) -> None:
    """Raise PeerDisagreesError unless a peer's dΦ agrees with ours."""
    error = error_of(peer, student)
    if not error <= TOLERANCE:
        raise PeerDisagreesError(f"{peer} on {student}: relative difference {error:.1e}, wanted {TOLERANCE:g} at most")


def hindrance(peer: str, student: str) -> str | None:
    """Return why a peer cannot run a student here; None if it can and agrees with us.

    Raises:
        PeerDisagreesError: as `check`.
    """
    try:
        check(peer, student)
    except ModuleNotFoundError as error:
        return f"cannot: no module {error.name}"
    return None


def _through_the_unroll(
    case: Case, steps: int, update: Callable[[dict[str, Tensor], tuple[Tensor, ...]], dict[str, Tensor]]
) -> Tensor:
    phis = _leaves(case, steps)
    params = {name: p.detach().clone().requires_grad_() for name, p in case.module.named_parameters()}
    with twice_differentiable():
        for t in range(steps):
            torch.manual_seed(case.seed(t))
            loss = case.objective(partial(_call, case.module, params), phis[t], case.batch(t))
            params = update(params, torch.autograd.grad(loss, list(params.values()), create_graph=True))
        return _pull_to(phis, case, list(params.values()))


def _call(module: nn.Module, params: dict[str, Tensor], *args: Any, **kwargs: Any) -> Any:
    return functional_call(module, params, args, kwargs)


def _leaves(case: Case, steps: int) -> list[Tensor]:
    return [phi.clone().requires_grad_() for phi in case.phis(steps)]


def _pull_to(phis: list[Tensor], case: Case, params: list[Tensor]) -> Tensor:
    """Return ∂(v·ω_T)/∂Φ_t for every step, stacked."""
    measure = torch.cat([p.reshape(-1) for p in params]) @ case.measure_gradient()
    return torch.stack(torch.autograd.grad(measure, phis))
