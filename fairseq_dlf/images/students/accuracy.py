"""What is measured of a student of images: accuracy, and its smoothed form with a gradient."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from fairseq_dlf.core.hypergradient.episode import MeasuredCotangent
from fairseq_dlf.core.hypergradient.student import Buffers, Forward, Student
from fairseq_dlf.core.teaching.expectations import expected_accuracy
from fairseq_dlf.images.data.splits import ImageSet

# As large as memory allows: the statistics of batch normalisation are those of a chunk.
CHUNK = 1000


class ExpectedAccuracy:
    """M̃(ω) = mean q(y) over dev images, q ∝ p^sharpness, with batch normalisation by the images' own statistics.

    Running figures would make M̃ depend on earlier students, while its gradient would hold
    them fixed; and they lag behind a student that is trained for a few steps only.

    Args:
        student: the student; its module is in training mode.
        images: dev images.
        sharpness: as in `expected_accuracy`.

    Cost: a forward over the images; with the gradient, a forward and a backward.
    Paper: section 4.1.
    """

    def __init__(self, student: Student, images: ImageSet, sharpness: float = 1.0):
        self.student = student
        self.images = images
        self.sharpness = sharpness

    def value(self, params: Tensor) -> float:
        """M̃(ω), in [0, 1]."""
        with torch.no_grad():
            return float(sum(self._sums(params))) / len(self.images.labels)

    def value_and_cotangent(self, params: Tensor) -> MeasuredCotangent:
        """M̃(ω) and ∂M̃/∂ω, (parameters,)."""
        leaf = params.detach().requires_grad_()
        count, value, cotangent = len(self.images.labels), 0.0, torch.zeros_like(params)
        with torch.enable_grad():
            for total in self._sums(leaf):
                value += float(total.detach()) / count
                cotangent += torch.autograd.grad(total, leaf)[0] / count
        return MeasuredCotangent(value, cotangent)

    def _sums(self, params: Tensor) -> Iterator[Tensor]:
        # Parts of equal size: a small last one would have poor statistics.
        parts = -(-len(self.images.labels) // CHUNK)
        for images, labels in zip(self.images.images.chunk(parts), self.images.labels.chunk(parts), strict=True):

            def of_chunk(forward: Forward, images: Tensor = images, labels: Tensor = labels) -> Tensor:
                return expected_accuracy(forward(images).logits, labels, self.sharpness).sum()

            yield self.student.run(params, of_chunk)


def predictions(student: Student, params: Tensor, buffers: Buffers, images: Tensor) -> Tensor:
    """The class with the highest score, (images,) int64, by the running figures of batch normalisation."""

    def of_all(forward: Forward) -> Tensor:
        return torch.cat([forward(chunk).logits.argmax(dim=-1) for chunk in images.split(CHUNK)])

    with torch.no_grad(), _evaluating(student.module):
        return student.run(params, of_all, buffers)


def accuracy(student: Student, params: Tensor, buffers: Buffers, images: ImageSet) -> float:
    """The share of images whose class is predicted."""
    return float((predictions(student, params, buffers, images.images) == images.labels).double().mean())


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    trained = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(trained)
