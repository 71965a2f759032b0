"""Whether a student can be taught as the options want, found out before hours are spent."""

import logging

from fairseq.data import FairseqDataset
from torch import Tensor

from fairseq_dlf.core.hypergradient.curvature import Curvature
from fairseq_dlf.core.hypergradient.guard import compare_with_exact, require_agreement
from fairseq_dlf.core.hypergradient.probe import require_second_derivatives, require_smooth, twice_differentiable
from fairseq_dlf.core.hypergradient.student import Point, Student
from fairseq_dlf.core.hypergradient.unroll import Step
from fairseq_dlf.core.support.errors import StateError
from fairseq_dlf.core.teaching.guidance import Guidance
from fairseq_dlf.core.teaching.lesson import Lesson
from fairseq_dlf.translation.bleu.decoding import batches_of
from fairseq_dlf.translation.episodes.config import DlfTeachingConfig
from fairseq_dlf.translation.episodes.options import takes_differences
from fairseq_dlf.translation.episodes.past import with_past
from fairseq_dlf.translation.episodes.precision import require_precision

logger = logging.getLogger(__name__)

# Sentences among which a short one is looked for.
LOOKED_AT = 1000


class Guard:
    """Probes the student once, and compares its second-order products with exact ones now and then.

    In a reduced precision they are compared in every lesson: products in bf16 may lose their direction from one
    lesson to the next.

    Args:
        cfg: the options of teaching.
        curvature: the way to second-order products.
        products: whether the estimator takes any.
    """

    def __init__(self, cfg: DlfTeachingConfig, curvature: Curvature, products: bool = True):
        self._curvature = curvature
        self._kinks = [kink for kink in cfg.allow_kinks.split(",") if kink]
        self._differences = takes_differences(cfg)
        self._reduced = str(cfg.student_precision) != "float32"
        self._every = 1 if self._reduced else cfg.guard_every
        self._products = self._comparable = products
        self._lessons = 0

    def probe(self, student: Student, point: Point) -> None:
        """Try a gradient and a product at one point.

        Raises:
            StateError: a layer has no second derivative, or the device no kernel for the precision.
            InputError: differences are taken of a student with kinks.
        """
        if self._reduced:
            require_precision(student, point)
        if not self._products:
            return
        if not self._differences:
            require_second_derivatives(student, point)
            return
        require_smooth(student, point, allowed=self._kinks)
        try:
            require_second_derivatives(student.within(twice_differentiable), point)
        except StateError as error:
            self._comparable = False
            logger.warning(f"the products by differences cannot be compared with exact ones: {error}")

    def watch(self, lesson: Lesson, guidance: Guidance) -> None:
        """Compare the products of a lesson's first step with exact ones, where that is due.

        Raises:
            StateError: they are far from exact ones, or the step cannot be repeated.

        Cost: where it is due, an exact product, one of the curvature, and three gradients.
        """
        due = self._lessons % self._every == 0 if self._every else self._lessons == 0
        self._lessons += 1
        if not (due and self._comparable and (self._differences or self._reduced)):
            return
        start = lesson.start.params
        guidance.observe(0, start, lesson.student.buffers())
        first = guidance.source(0)
        # Another batch's gradient: as typical a direction as can be had for one training step.
        other = Step(guidance.coefficients(lesson.interval - 1), *lesson.step(lesson.updates - 1))
        vector = lesson.student.gradients(other.at(start)).params
        found = compare_with_exact(lesson.student, self._curvature, first.at(start), vector)
        logger.info(
            f"guard: products of one step against exact ones in float32, relative errors: Hessian "
            f"{found.hessian:.2g}, mixed {found.mixed:.2g}, replay {found.replay:.2g}"
        )
        # Who allows kinks has been told; a step that cannot be repeated is no such thing.
        require_agreement(found._replace(hessian=0.0, mixed=0.0) if self._kinks else found)


def easy_point(student: Student, pairs: FairseqDataset, coefficients: Tensor, reads_past: bool = False) -> Point:
    """A student as it is on the shortest of the first sentences, to try it on.

    Args:
        coefficients: Φ, (coefficients,), on the student's device.
        reads_past: whether its loss reads a past self, for which it stands itself.
    """
    shortest = min(range(min(len(pairs), LOOKED_AT)), key=pairs.num_tokens)
    batch = next(batches_of(pairs, [shortest], coefficients.device))
    params = student.flat_params()
    return Point(params, coefficients, with_past(student, params, batch) if reads_past else batch, 0)
