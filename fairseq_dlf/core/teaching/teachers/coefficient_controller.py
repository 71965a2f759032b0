"""A controller whose elements are coefficients, each of which reads how the student does where it acts."""

import torch
from torch import Tensor

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.teaching.teachers.controller import ControllerTeacher, Elements
from fairseq_dlf.core.teaching.teachers.teacher import TEACHERS


@TEACHERS.register("coefficient_controller")
class CoefficientController(ControllerTeacher):
    """A `ControllerTeacher` that moves each coefficient by itself, from a statistic of its own.

    The statistic of a coefficient is the mean that the form's `tallies` give it. One network is shared by all
    coefficients, so that what it learns of one is known of all.

    Raises:
        InputError: as `ControllerTeacher`.

    Source: Huang et al. 2019, whose elements are pairs of classes; those of other forms are ours.
    """

    statistics = "tallies"

    @classmethod
    def untaught(  # type: ignore[override]
        cls, neutral: Tensor, features: int, beta: float = 0.1, reach: float = 1.0, sampled: int = 0
    ) -> ControllerTeacher:
        """Return a controller whose actions are all equally probable; arguments as in `ControllerTeacher.untaught`."""
        if features != len(neutral) + 1:
            raise InputError(
                f"each of {len(neutral):,} coefficients reads a statistic of its own, but there are {features - 1:,} "
                "statistics: take the teacher controller",
                setting="teacher",
            )
        return cls._uniform(neutral, 1, False, beta, reach, sampled)

    @property
    def features(self) -> int:
        return 1 + self.coefficients

    def _elements(self) -> Elements:
        each = torch.arange(self.coefficients, device=self.opening.device).unsqueeze(1)
        return Elements(each, each)

    def _require_fit(self) -> None:
        super()._require_fit()
        if bool(self.pairs) or self._read != 1:
            raise InputError(
                f"a {self.kind} reads one statistic for each coefficient, but its tensors are those of "
                f"{'pairs of classes' if bool(self.pairs) else f'{self._read} statistics'}"
            )
