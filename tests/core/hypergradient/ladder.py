"""The gradient ladder's two ends: autograd through the whole unroll, and the reverse pass."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from fairseq_dlf.core.hypergradient.curvature import Exact
from fairseq_dlf.core.hypergradient.reverse import reverse
from fairseq_dlf.core.hypergradient.schedules import Binomial, Checkpoints, Everything
from fairseq_dlf.core.hypergradient.storage import OnDevice
from fairseq_dlf.core.hypergradient.student import Student
from fairseq_dlf.core.hypergradient.trajectory import TrajectoryPlan
from fairseq_dlf.core.hypergradient.unroll import unroll
from fairseq_dlf.core.hypergradient.update_rules import SGD, Adam

RULES = {
    "sgd": SGD(),
    "sgd-clipped": SGD(clip_norm=0.2),
    "momentum": SGD(momentum=0.9, clip_norm=0.2),
    "nesterov": SGD(momentum=0.9, nesterov=True, weight_decay=0.1, decoupled=True),
    "adamw": Adam(epsilon=1e-3, clip_norm=0.2, weight_decay=0.1, decoupled=True),
    "adam-root": Adam(epsilon_root=1e-4),
}
SCHEDULES = {
    "everything": Everything(),
    "checkpoints-3": Checkpoints(3),
    "checkpoints-16": Checkpoints(16),
    "binomial-2": Binomial(2),
    "binomial-4": Binomial(4),
}


class Episode(NamedTuple):
    """A tiny episode in float64.

    Attributes:
        student: with dropout.
        source: gives step t, with Φ_t from `phis` or from another tensor of its shape.
        phis: Φ_1 … Φ_T, (steps, coefficients).
        measure: a smooth function of ω.
    """

    student: Student
    source: Callable
    phis: Tensor
    measure: Callable[[Tensor], Tensor]

    @property
    def steps(self):
        return len(self.phis)


def by_autograd(episode, rule, truncation=0):
    """dΦ by plain autograd through the whole unroll, its graph cut before the last `truncation` steps."""
    measured, phis, _ = _unrolled(episode, rule, truncation)
    (found,) = torch.autograd.grad(measured, phis)
    return found


def start_by_autograd(episode, rule):
    """dω before the first update, by plain autograd through the whole unroll."""
    measured, _, params = _unrolled(episode, rule)
    (found,) = torch.autograd.grad(measured, params)
    return found


def _unrolled(episode, rule, truncation=0):
    """The measure with a graph of all steps, and the leaves Φ and ω at the start."""
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
    return episode.measure(state.params), phis, params


def by_reverse(episode, rule, schedule, truncation=0, curvature=None, make_storage=OnDevice, clip_norm=0.0, graphs=0):
    """The reverse pass, with the past kept by a schedule in a storage, and the graphs of the last steps."""
    curvature = curvature or Exact()
    first = episode.steps - truncation if truncation else 0
    trajectory = TrajectoryPlan(schedule, make_storage, graphs).open(first, episode.steps, curvature.reuses_gradients)
    start = rule.initial(episode.student.flat_params())
    done = unroll(episode.student, rule, episode.source, start, episode.steps, trajectory=trajectory)
    params = done.final.params.detach().requires_grad_()
    (cotangent,) = torch.autograd.grad(episode.measure(params), params)
    return reverse(episode.student, rule, episode.source, trajectory, curvature, cotangent, clip_norm=clip_norm)


def by_differences(episode, rule, direction, h=1e-4):
    """The slope of the final measure along a direction of Φ, by central differences of whole episodes."""

    def final_measure(phis):
        start = rule.initial(episode.student.flat_params())
        done = unroll(episode.student, rule, lambda t: episode.source(t, phis), start, episode.steps)
        return episode.measure(done.final.params).item()

    return (final_measure(episode.phis + h * direction) - final_measure(episode.phis - h * direction)) / (2 * h)


def relative_error(found, wanted):
    """‖found − wanted‖ / ‖wanted‖, of something that is not 0."""
    assert wanted.norm() > 0
    return ((found - wanted).norm() / wanted.norm()).item()
