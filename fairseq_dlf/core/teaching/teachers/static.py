"""A teacher with one Φ for the whole run, which shows what teaching gains without a schedule."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.teaching.teachers.teacher import TEACHERS, Memory, Teacher


@TEACHERS.register("static")
class StaticTeacher(Teacher):
    """A teacher whose θ is Φ itself; the student's progress does not matter and is not measured.

    Args:
        phi: Φ, (coefficients,), float.

    Raises:
        InputError: Φ is not a vector, or not finite.
    """

    reads_progress = False

    def __init__(self, phi: Tensor):
        super().__init__()
        if phi.dim() != 1 or not phi.is_floating_point() or phi.numel() == 0:
            raise InputError(f"a static teacher's Φ has the shape {tuple(phi.shape)}: wanted a float vector")
        if not phi.isfinite().all():
            raise InputError("the teacher's parameters are not all finite: its training has diverged")
        self.phi = nn.Parameter(phi.detach().clone())

    @classmethod
    def untaught(cls, neutral: Tensor, features: int) -> "StaticTeacher":  # type: ignore[override]
        return cls(neutral)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "StaticTeacher":
        if "phi" not in tensors:
            raise InputError("a static teacher needs the tensor 'phi', which is missing")
        return cls(tensors["phi"])

    @property
    def coefficients(self) -> int:
        return self.phi.numel()

    @property
    def features(self) -> None:
        return None

    def bound(self, low: Tensor, high: Tensor) -> None:
        with torch.no_grad():
            self.phi.clamp_(low, high)

    def forward(self, progress: Tensor, memory: Memory = ()) -> tuple[Tensor, Memory]:
        return self.phi.expand(progress.size(0), -1), memory
