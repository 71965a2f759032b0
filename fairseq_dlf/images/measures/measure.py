"""The interface of a smoothed measure of images, and the measures by name."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor

from fairseq_dlf.core.hypergradient.episode import Measure, MeasuredCotangent
from fairseq_dlf.core.hypergradient.student import Forward, Student
from fairseq_dlf.core.support.registry import Registry
from fairseq_dlf.images.data.splits import ImageSet

# As large as memory allows, since batch normalisation uses the statistics of a chunk.
CHUNK = 1000


class ImageMeasure(ABC):
    """M̃(ω), a mean over dev images, with batch normalisation by the images' own statistics.

    A measure is a subclass in a separate file, registered by `MEASURES.register(name)`; its
    constructor's further arguments, each with a default, are its options.

    Running figures would make M̃ depend on earlier students, while its gradient would treat them
    as constants; they also lag behind a student that is trained for only a few steps.

    Args:
        student: the student; its module is in training mode.
        images: dev images.

    Cost: a forward pass over the images; with the gradient, also a backward pass.
    """

    def __init__(self, student: Student, images: ImageSet):
        self.student = student
        self.images = images

    @abstractmethod
    def of_images(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the measure of each image, (images,) in [0, 1], higher is better, with a graph to the logits.

        Args:
            logits: (images, classes).
            labels: (images,), int64.
        """

    def value(self, params: Tensor) -> float:
        """Return M̃(ω), in [0, 1]."""
        with torch.no_grad():
            return float(sum(self._sums(params))) / len(self.images.labels)

    def value_and_cotangent(self, params: Tensor) -> MeasuredCotangent:
        """Return M̃(ω) and ∂M̃/∂ω, (parameters,)."""
        leaf = params.detach().requires_grad_()
        count, value, cotangent = len(self.images.labels), 0.0, torch.zeros_like(params)
        with torch.enable_grad():
            for total in self._sums(leaf):
                value += float(total.detach()) / count
                cotangent += torch.autograd.grad(total, leaf)[0] / count
        return MeasuredCotangent(value, cotangent)

    def _sums(self, params: Tensor) -> Iterator[Tensor]:
        # Parts of equal size, since a small last part would have poor statistics.
        parts = -(-len(self.images.labels) // CHUNK)
        for images, labels in zip(self.images.images.chunk(parts), self.images.labels.chunk(parts), strict=True):

            def of_chunk(forward: Forward, images: Tensor = images, labels: Tensor = labels) -> Tensor:
                return self.of_images(forward(images).logits, labels).sum()

            yield self.student.run(params, of_chunk)


MEASURES: Registry[Measure] = Registry("measure")
