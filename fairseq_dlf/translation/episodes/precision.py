"""Whether a device has what a student's reduced precision needs: not every CPU has every kernel."""

from fairseq_dlf.core.hypergradient.student import Point, Student
from fairseq_dlf.core.support.errors import StateError, brief


def require_precision(student: Student, point: Point) -> None:
    """Take the gradients of one batch with the very layers and device of a run.

    Args:
        student: with its forward in the precision of the run.
        point: where to take them.

    Raises:
        StateError: the device lacks a kernel, or the figures are not finite.

    Cost: one forward and backward of a batch.
    """
    try:
        gradients = student.gradients(point).params
    # torch raises nothing more special where a kernel is missing: NotImplementedError is a RuntimeError, too.
    except RuntimeError as error:
        raise StateError(
            f"this student cannot be run in bf16 on {point.params.device} ({brief(error)}): take "
            "--student-precision float32"
        ) from error
    if not gradients.isfinite().all():
        raise StateError(
            f"this student's gradients in bf16 on {point.params.device} are not finite: take "
            "--student-precision float32"
        )
