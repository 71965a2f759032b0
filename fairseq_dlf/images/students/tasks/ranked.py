"""A measure of dev that ranks images, which has no derivative."""

from collections.abc import Callable

import torch
from torch import Tensor

from fairseq_dlf.core.hypergradient.episode import MeasuredCotangent
from fairseq_dlf.core.hypergradient.student import Forward, Student
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.images.data.splits import ImageSet
from fairseq_dlf.images.students.accuracy import CHUNK


class RankedMeasure:
    """M̃(ω) of dev images, with batch normalisation as in `ImageMeasure`; a `Measure`.

    Args:
        student: its module is in training mode.
        images: dev images.
        lost: maps logits and labels to what is missed, whose mean is 1 − M̃.
        name: of the measure.

    Cost: a forward pass over the images.
    """

    def __init__(self, student: Student, images: ImageSet, lost: Callable[[Tensor, Tensor], Tensor], name: str):
        self.student = student
        self.images = images
        self.lost = lost
        self.name = name

    def value(self, params: Tensor) -> float:
        """Return M̃(ω), in [0, 1]."""

        def of_all(forward: Forward) -> Tensor:
            parts = -(-len(self.images.labels) // CHUNK)
            return torch.cat([forward(chunk).logits for chunk in self.images.images.chunk(parts)])

        with torch.no_grad():
            return 1.0 - float(self.lost(self.student.run(params, of_all), self.images.labels).double().mean())

    def value_and_cotangent(self, params: Tensor) -> MeasuredCotangent:
        """Raise InputError: ranks have no derivative."""
        raise InputError(f"{self.name} has no derivative: take the estimator reinforce", setting="estimator")
