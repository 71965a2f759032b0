"""A teacher that is a schedule: Φ_t by the share of the run that is done, and nothing else."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fairseq_dlf.core.support.checks import require_at_least
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.teaching.teachers.teacher import TEACHERS, Memory, Teacher


@TEACHERS.register("schedule")
class ScheduleTeacher(Teacher):
    """Φ(t / T), linear between knots that divide the run into equal parts; the student is not measured.

    Args:
        knots: Φ at each knot, (coefficients, K), float; one knot is a constant.

    Raises:
        InputError: the knots are no matrix, or not finite.
    """

    reads_progress = False

    def __init__(self, knots: Tensor):
        super().__init__()
        if knots.dim() != 2 or not knots.is_floating_point() or knots.numel() == 0:
            raise InputError(f"a schedule has knots of the shape {tuple(knots.shape)}: wanted (coefficients, K), float")
        if not knots.isfinite().all():
            raise InputError("the teacher's parameters are not all finite: its training has diverged")
        self.knots = nn.Parameter(knots.detach().clone())

    @classmethod
    def untaught(cls, neutral: Tensor, features: int, knots: int = 3) -> "ScheduleTeacher":  # type: ignore[override]
        """Return a teacher with Φ = `neutral` all along.

        Args:
            neutral: (coefficients,).
            knots: K.
        """
        require_at_least(1, teacher=knots)
        return cls(neutral.detach().unsqueeze(1).repeat(1, knots))

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "ScheduleTeacher":
        if "knots" not in tensors:
            raise InputError("a schedule needs the tensor 'knots', which is missing")
        return cls(tensors["knots"])

    @property
    def coefficients(self) -> int:
        return self.knots.size(0)

    @property
    def features(self) -> None:
        return None

    def bound(self, low: Tensor, high: Tensor) -> None:
        with torch.no_grad():
            self.knots.clamp_(low.unsqueeze(1), high.unsqueeze(1))

    def forward(self, progress: Tensor, memory: Memory = ()) -> tuple[Tensor, Memory]:
        number = self.knots.size(1)
        places = torch.arange(number, dtype=progress.dtype, device=progress.device)
        # The share done is the first feature in all front ends.
        weights = (1.0 - (progress[:, :1] * (number - 1) - places).abs()).clamp(min=0.0)
        return weights @ self.knots.t(), memory
