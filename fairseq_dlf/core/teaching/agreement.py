"""How far hypergradients of several measures agree, all of them from one training with a constant Φ."""

import time
from collections.abc import Sequence
from contextlib import closing
from typing import NamedTuple

import torch
from torch import Tensor

from fairseq_dlf.core.hypergradient.episode import EpisodePlan, Measure, divergence_of
from fairseq_dlf.core.hypergradient.reverse import Hypergradient, NonFiniteCotangentError, reverse_several
from fairseq_dlf.core.hypergradient.unroll import unroll
from fairseq_dlf.core.support.errors import StateError
from fairseq_dlf.core.teaching.guidance import Guidance
from fairseq_dlf.core.teaching.lesson import Lesson
from fairseq_dlf.core.teaching.teachers.static import StaticTeacher


class MeasuredEnd(NamedTuple):
    """What one measure says of the end of a training.

    Attributes:
        value: M̃(ω_T).
        hypergradient: ∂M̃/∂Φ_t.
        measure_s: seconds of the value and its cotangent.
    """

    value: float
    hypergradient: Hypergradient
    measure_s: float


class SharedEpisode(NamedTuple):
    """One training, and what each measure says of it.

    Attributes:
        params: ω_T, (parameters,).
        ends: in the order of the measures.
        forward_s: seconds of the updates.
        reverse_s: seconds of the reverse pass of all measures together.
    """

    params: Tensor
    ends: Sequence[MeasuredEnd]
    forward_s: float
    reverse_s: float


def shared_episode(
    lesson: Lesson, coefficients: Tensor, measures: Sequence[Measure], plan: EpisodePlan
) -> SharedEpisode:
    """Train a lesson's student once with one Φ all along, and find dΦ_t of several measures.

    Args:
        coefficients: Φ, (coefficients,).
        measures: in place of the lesson's own, at least one.
        plan: horizon, curvature, trajectory and clipping; nothing counts as a collapse but what is not finite.

    Raises:
        StateError: the student's loss or a cotangent is not finite.

    Cost: T training steps; for each measure a value with its cotangent; one reverse pass (`reverse_several`).
    """
    source = Guidance(lesson, StaticTeacher(coefficients), features=1).source
    began = time.perf_counter()
    with closing(plan.trajectory.open(plan.first, plan.steps, plan.curvature.reuses_gradients)) as trajectory:
        run = (lesson.student, lesson.rule, source)
        done = unroll(*run, lesson.start, plan.steps, trajectory=trajectory)
        diverged = divergence_of(done.losses)
        if diverged is not None:
            raise StateError(diverged)
        forward_s = time.perf_counter() - began
        ends, seconds = [], []
        for measure in measures:
            began = time.perf_counter()
            ends.append(measure.value_and_cotangent(done.final.params))
            seconds.append(time.perf_counter() - began)
        began = time.perf_counter()
        cotangents = [end.cotangent for end in ends]
        try:
            found = reverse_several(*run, trajectory, plan.curvature, cotangents, clip_norm=plan.cotangent_clip)
        except NonFiniteCotangentError as error:
            raise StateError(str(error)) from error
    reverse_s, values = time.perf_counter() - began, [end.value for end in ends]
    measured = [MeasuredEnd(*each) for each in zip(values, found, seconds, strict=True)]
    return SharedEpisode(done.final.params, measured, forward_s, reverse_s)


def cosine(one: Tensor, other: Tensor) -> float | None:
    """Return the cosine of two vectors; None where one of them is 0, and so has no direction."""
    one, other = one.double(), other.double()
    norms = float(one.norm() * other.norm())
    return float(one @ other) / norms if norms > 0.0 else None


def in_parts(found: Hypergradient, parts: int) -> list[Tensor]:
    """Return Σ_t dΦ_t over successive parts of the run of about as many updates, (coefficients,) each."""
    return [rows.sum(dim=0) for rows in found.coefficients.tensor_split(parts)]


def move_along(direction: Tensor, coefficients: Tensor, share: float) -> Tensor:
    """Return the step along a direction whose greatest entry is a share of the root mean square of Φ.

    So no coefficient moves by more than that, whether the direction is spread over ten numbers or concentrated on
    ten of ten thousand.

    Args:
        direction: (coefficients,), not 0.
        coefficients: Φ, (coefficients,).
        share: of either sign.
    """
    return share * coefficients.square().mean().sqrt() / direction.abs().max() * direction


def random_signs(direction: Tensor, seed: int) -> Tensor:
    """Return a direction whose entries are as large, and have random signs: of the same norm, of every kind."""
    signs = torch.randint(2, direction.shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return direction.abs() * signs.to(direction)
