"""The paper's task: each image has one class, and students are measured by their accuracy."""

import torch
from torch import Tensor

from fairseq_dlf.core.hypergradient.student import Buffers, Student
from fairseq_dlf.core.teaching.forms import Form
from fairseq_dlf.images.data.splits import ImageSet
from fairseq_dlf.images.losses import LOSSES
from fairseq_dlf.images.students.accuracy import accuracy, predictions
from fairseq_dlf.images.students.statistics import Statistics, features_of, statistics_of
from fairseq_dlf.images.students.tasks.task import CLASSIFICATION, TASKS, Task


@TASKS.register(CLASSIFICATION)
class Classification(Task):
    """Accuracy; Φ acts on log-probabilities through one of the forms."""

    losses = LOSSES
    adapted = "dlf"
    value_name = "accuracy"
    measure_name = "expected dev accuracy"
    has_forms = True

    def start(self, form: Form, factor: float, classes: int) -> Tensor:
        return form.start_times(factor, classes)

    def limits(self, form: Form, classes: int) -> tuple[Tensor, Tensor]:
        low, high = (torch.full((form.size(classes),), bound) for bound in form.bounds(classes))
        return low, high

    def features(self, statistics: str, classes: int, form: Form) -> tuple[str, ...]:
        return features_of(statistics, classes, form)

    def statistics(self, statistics: str, train: ImageSet, dev: ImageSet, classes: int, form: Form) -> Statistics:
        return statistics_of(statistics, train, dev, classes, form)

    def value(self, student: Student, params: Tensor, buffers: Buffers, images: ImageSet) -> float:
        return accuracy(student, params, buffers, images)

    def lost(self, student: Student, params: Tensor, buffers: Buffers, images: ImageSet) -> Tensor:
        """Return whether each image is classified wrongly, (images,), bool."""
        return predictions(student, params, buffers, images.images) != images.labels

    def wrong(self, lost: Tensor) -> tuple[int, ...]:
        return tuple(lost.nonzero().flatten().tolist())
