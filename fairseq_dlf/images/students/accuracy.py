"""Predictions of a student of images, and their accuracy."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from fairseq_dlf.core.hypergradient.student import Buffers, Forward, Student
from fairseq_dlf.images.data.splits import ImageSet

# Number of images in one forward pass, as many as memory allows.
CHUNK = 1000


def predictions(student: Student, params: Tensor, buffers: Buffers, images: Tensor) -> Tensor:
    """Return the class with the highest score, (images,) int64, by the running figures of batch normalisation."""
    return _evaluated(student, params, buffers, images, lambda logits: logits.argmax(dim=-1))


def scores(student: Student, params: Tensor, buffers: Buffers, images: Tensor) -> Tensor:
    """Return the score of every class, (images, classes), by the running figures of batch normalisation."""
    return _evaluated(student, params, buffers, images, lambda logits: logits)


def log_probabilities(student: Student, params: Tensor, buffers: Buffers, images: Tensor) -> Tensor:
    """Return log p of every class, (images, classes), by the running figures of batch normalisation."""
    return _evaluated(student, params, buffers, images, lambda logits: torch.log_softmax(logits, dim=-1))


def _evaluated(
    student: Student, params: Tensor, buffers: Buffers, images: Tensor, of_logits: Callable[[Tensor], Tensor]
) -> Tensor:
    def of_all(forward: Forward) -> Tensor:
        return torch.cat([of_logits(forward(chunk).logits) for chunk in images.split(CHUNK)])

    with torch.no_grad(), _evaluating(student.module):
        return student.run(params, of_all, buffers)


def accuracy(student: Student, params: Tensor, buffers: Buffers, images: ImageSet) -> float:
    """Return the share of images whose class is predicted."""
    return float((predictions(student, params, buffers, images.images) == images.labels).double().mean())


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    was_training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was_training)
