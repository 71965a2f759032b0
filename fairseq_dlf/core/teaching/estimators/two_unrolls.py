"""θ's gradient by a lesson that is taught twice: with the present Φ, and with the Φ that the teacher steps to."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from fairseq_dlf.core.hypergradient.episode import EpisodePlan, EpisodeResult, run_episode
from fairseq_dlf.core.hypergradient.unroll import Step, Watch
from fairseq_dlf.core.support.signature import Part
from fairseq_dlf.core.teaching.estimators.estimator import ESTIMATORS, Estimate, require_match
from fairseq_dlf.core.teaching.estimators.reverse import ended, episode_figures
from fairseq_dlf.core.teaching.guidance import Guidance
from fairseq_dlf.core.teaching.lesson import Lesson
from fairseq_dlf.core.teaching.teachers.stepping import SteppingTeacher
from fairseq_dlf.core.teaching.teachers.teacher import Memory


@ESTIMATORS.register("two_unrolls")
@dataclass(frozen=True)
class TwoUnrolls:
    """A teacher's step of Φ, judged by the same lesson taught again with the Φ that it leads to.

    (1) A lesson with the present φ gives g = −∂M̃/∂φ. (2) The teacher steps to φ'(θ) by g, which is taken as given.
    (3) The same lesson from the same start with φ' gives dφ' = ∂M̃/∂φ'; loss = −⟨φ'(θ), dφ'⟩, whose gradient is
    −∂M̃/∂θ. (4) The student ends where the second lesson ended, and the teacher keeps its memory after the step. What
    came before the lesson is taken as given, too.

    Where the first lesson collapses, there is no step; where the second one does, the step is taken back (ours).

    Attributes:
        plan: horizon, curvature, trajectory, and the conditions of a collapse, of both lessons.

    Raises:
        InputError: when called with a teacher that makes no steps.

    Cost: two episodes but for one measure (`run_episode`), and a step of the teacher with its gradient. It keeps the
    teacher's memory in this process: several workers would each have their own.
    Source: L2T-DLN (Hai et al. 2023) and the authors' code.
    """

    plan: EpisodePlan
    learns_from: ClassVar[type] = SteppingTeacher

    @property
    def signature(self) -> Part:
        return {"estimator": "two_unrolls", **self.plan.signature}

    def __call__(
        self,
        lesson: Lesson,
        guidance: Guidance,
        along: Callable[[Tensor], Tensor],
        floor: float = -math.inf,
        watch: Watch | None = None,
    ) -> Estimate:
        teacher = guidance.teacher
        require_match(type(self), type(teacher))
        assert isinstance(teacher, SteppingTeacher)
        plan, memory = replace(self.plan, collapse_floor=floor), guidance.memory(0)
        first = _taught(lesson, memory, plan, watch)
        if first.hypergradient is None:
            return Estimate(_no_loss(teacher), _figures(first, first), first.collapse, ended(first), memory)
        stepped = teacher.advance(memory, -_of_phi(first))
        second = _taught(lesson, stepped, plan, watch, first.measure_before)
        figures = _figures(first, second, float((stepped[0].detach() - memory[0]).norm()))
        if second.hypergradient is None:
            return Estimate(_no_loss(teacher), figures, second.collapse, ended(first), memory)
        teacher.keep(stepped)
        return Estimate(-(stepped[0] * _of_phi(second)).sum(), figures, None, ended(second), stepped)


def _taught(
    lesson: Lesson, memory: Memory, plan: EpisodePlan, watch: Watch | None, before: float | None = None
) -> EpisodeResult:
    """Teach the lesson with the Φ of a memory all along, and go back.

    Args:
        before: M̃ at the lesson's start, if it is known.
    """
    phi = memory[0].detach()
    run = lesson.student, lesson.rule, lambda t: Step(phi, *lesson.step(t)), lesson.start, lesson.measure, plan
    return run_episode(*run, watch=watch, measure_before=before)


def _of_phi(result: EpisodeResult) -> Tensor:
    """Return ∂M̃/∂φ of the one φ of all updates, (coefficients,)."""
    assert result.hypergradient is not None
    return result.hypergradient.coefficients.sum(dim=0)


def _no_loss(teacher: SteppingTeacher) -> Tensor:
    """Return a loss of weight 0, but with a graph to θ."""
    return 0.0 * torch.stack([parameter.sum() for parameter in teacher.parameters()]).sum()


def _figures(first: EpisodeResult, last: EpisodeResult, move: float = 0.0) -> dict[str, float]:
    """Return the figures of the last lesson, the seconds of both, and what the teacher's step made of M̃ and Φ.

    Args:
        last: the second lesson, or the first one again if there was no second.
        move: ‖φ' − φ‖.
    """
    told, whole = episode_figures(last), [first] if last is first else [first, last]
    return {
        **told,
        "forward_s": sum(each.forward_s for each in whole),
        "reverse_s": sum(each.reverse_s for each in whole),
        "measure_without_step": first.measure_after,
        "phi_step_norm": move,
    }
