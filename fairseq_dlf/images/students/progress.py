"""s_t of image classification: the share of completed updates, accuracies, and precision by class."""

import torch
from torch import Tensor

from fairseq_dlf.core.hypergradient.student import Buffers, Student
from fairseq_dlf.images.data.splits import ImageSet
from fairseq_dlf.images.students.accuracy import accuracy, predictions


def features(classes: int) -> tuple[str, ...]:
    """Return the names of the progress features, in the order of the teacher's columns.

    Paper: section 5.1.
    """
    return "updates", "train_accuracy", "dev_accuracy", *(f"precision_{place}" for place in range(classes))


class StudentProgress:
    """Progress of a student on fixed samples of train and dev.

    Args:
        train, dev: images to measure on.
        classes: number of classes.

    Cost: a forward pass over both.
    """

    def __init__(self, train: ImageSet, dev: ImageSet, classes: int):
        self.train = train
        self.dev = dev
        self.classes = classes

    def measure(self, student: Student, params: Tensor, buffers: Buffers) -> Tensor:
        """Return s at one ω without its first feature, the share of completed updates: (features − 1,), float32."""
        predicted = predictions(student, params, buffers, self.dev.images)
        right = predicted == self.dev.labels
        times, hits = (torch.bincount(kept, minlength=self.classes) for kept in (predicted, predicted[right]))
        # A class that was never predicted has no precision; it gets 0, like a class that is always wrong.
        precision = (hits / times.clamp(min=1)).tolist()
        accuracies = [accuracy(student, params, buffers, self.train), float(right.double().mean())]
        return torch.tensor([*accuracies, *precision])
