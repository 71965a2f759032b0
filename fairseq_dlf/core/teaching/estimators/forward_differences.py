"""θ's gradient by one more training for each of its numbers: for teachers of few parameters and any measure."""

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from fairseq_dlf.core.hypergradient.episode import EpisodePlan, collapse_of
from fairseq_dlf.core.hypergradient.unroll import Unroll, Watch, unroll
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.support.signature import Part
from fairseq_dlf.core.teaching.estimators.estimator import ESTIMATORS, Estimate, require_match
from fairseq_dlf.core.teaching.guidance import Guidance
from fairseq_dlf.core.teaching.lesson import Lesson
from fairseq_dlf.core.teaching.teachers.teacher import Teacher

# A teacher of more parameters takes longer for one step than an exact reverse pass for many.
MOST = 256


@ESTIMATORS.register("forward_differences")
@dataclass(frozen=True)
class ForwardDifferences:
    """∂M̃/∂θ_i ≈ (M̃(θ + h e_i) − M̃(θ)) / h, each M̃ of a student that is trained with the same batches and masks.

    It needs no second derivatives, no stored past and no gradient of the measure, and does not know the cotangents
    that grow along a long run. A step h far above the noise of the measure makes it a secant, which is what a
    teacher of few numbers wants.

    Attributes:
        plan: the horizon, and the conditions of a collapse; its curvature and trajectory are not used.
        step: h, in the units of θ.

    Raises:
        InputError: the step is not positive; when called, θ has more than 256 numbers.

    Cost: k + 1 trainings of T steps and k + 2 measures, for k numbers in θ.
    Source: forward-mode hyperparameter optimisation with shared hyperparameters (Micaelli and Storkey 2021).
    """

    plan: EpisodePlan
    step: float = 0.1
    takes_products: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.step > 0:
            raise InputError(f"the step of the differences is {self.step}, but must be positive", setting="estimator")

    @property
    def signature(self) -> Part:
        return {
            "estimator": "forward_differences",
            "step": self.step,
            "steps": self.plan.steps,
            "collapse_share": self.plan.collapse_share,
        }

    def __call__(
        self,
        lesson: Lesson,
        guidance: Guidance,
        along: Callable[[Tensor], Tensor],
        floor: float = -math.inf,
        watch: Watch | None = None,
    ) -> Estimate:
        began = time.perf_counter()
        teacher = guidance.teacher
        require_match(type(self), type(teacher))
        parameters = list(teacher.parameters())
        _require_few(parameters)
        before = lesson.measure.value(lesson.start.params)
        plain = _taught(lesson, guidance, watch)
        after = lesson.measure.value(plain.final.params)
        collapse = collapse_of(before, after, plain.losses, self.plan, floor)
        # Through the teacher's forward, in which wrappers for several processes take part.
        loss, slopes = 0.0 * along(guidance.progress).sum(), []
        if collapse is None:
            theta = parameters_to_vector(parameters)
            slopes = [self._slope(lesson, teacher, guidance, number, after) for number in range(len(theta))]
            loss = loss - (theta * theta.new_tensor(slopes)).sum()
        figures = {
            "measure_before": before,
            "measure_after": after,
            "student_loss": float(plain.losses.mean()),
            "forward_s": time.perf_counter() - began,
            "dtheta_norm": float(torch.tensor(slopes).norm()),
        }
        return Estimate(loss, figures, collapse, plain)

    def _slope(self, lesson: Lesson, teacher: Teacher, guidance: Guidance, number: int, after: float) -> float:
        """Return the difference quotient for one number of θ; 0 if its student collapses."""
        moved = copy.deepcopy(teacher)
        with torch.no_grad():
            theta = parameters_to_vector(moved.parameters())
            theta[number] += self.step
            vector_to_parameters(theta, moved.parameters())
        taught = _taught(lesson, guidance.of(moved))
        reached = lesson.measure.value(taught.final.params)
        sound = collapse_of(after, reached, taught.losses, self.plan) is None
        return (reached - after) / self.step if sound else 0.0


def _taught(lesson: Lesson, guidance: Guidance, watch: Watch | None = None) -> Unroll:
    run = lesson.student, lesson.rule, guidance.source, lesson.start, lesson.updates
    return unroll(*run, watch=watch, observe=guidance.observe)


def _require_few(parameters: Sequence[Tensor]) -> None:
    number = sum(parameter.numel() for parameter in parameters)
    if number > MOST:
        raise InputError(
            f"the teacher has {number:,} parameters, but forward differences train a student for each of at most "
            f"{MOST}: take a form of few coefficients and a schedule, or another estimator",
            setting="estimator",
        )
