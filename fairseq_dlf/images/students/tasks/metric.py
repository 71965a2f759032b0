"""Metric learning: embeddings in which the nearest image is of the same class, also for classes never seen."""

from abc import abstractmethod
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from fairseq_dlf.core.hypergradient.student import Buffers, Student
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.teaching.forms import Form
from fairseq_dlf.images.data.splits import ImageData, ImageSet
from fairseq_dlf.images.losses.metric import METRIC_LOSSES, NEGATIVE_FOCUS, POSITIVE_FOCUS, SHAPES, pairs_of, shapes_of
from fairseq_dlf.images.students.accuracy import scores
from fairseq_dlf.images.students.statistics import Statistics
from fairseq_dlf.images.students.tasks.ranked import RankedMeasure
from fairseq_dlf.images.students.tasks.task import TASKS, Task

# Of dev, what a controller's statistics are taken from: all pairs of so many images.
STATISTICS_IMAGES = 400
# Rows of similarities that are held at once.
ROWS = 1024
# A sharpness of 0 would divide by it.
LEAST_FOCUS = 0.1


def missed_neighbours(logits: Tensor, labels: Tensor) -> Tensor:
    """Return whether the nearest other image of each is of another class, (images,), bool: 1 − recall@1 is its mean.

    Images that are alone in their class do not count, unless all are. Of images equally near, the first counts;
    embeddings that are no numbers, of a student that has diverged, are all alike.

    Args:
        logits: (n, classes), embeddings before they are normalised.
        labels: (n,), int64.

    Cost: n² products.
    """
    embedded = functional.normalize(logits.detach().nan_to_num(), dim=1)
    nearest = []
    for start in range(0, len(labels), ROWS):
        similar = embedded[start : start + ROWS] @ embedded.T
        places = torch.arange(len(similar), device=similar.device)
        similar[places, start + places] = -torch.inf
        nearest.append(similar.argmax(dim=1))
    missed = labels[torch.cat(nearest)] != labels
    company = torch.bincount(labels)[labels] > 1
    return missed[company] if bool(company.any()) else torch.ones_like(missed)


def class_parts(classes: int) -> dict[str, range]:
    """Return the classes of train, dev and test: the lower half, two fifths of the rest (two at least), the others."""
    seen = (classes + 1) // 2
    chosen = seen + max(2, 2 * (classes - seen) // 5)
    return {"train": range(seen), "dev": range(seen, chosen), "test": range(chosen, max(classes, chosen))}


class MetricTask(Task):
    """recall@1 of embeddings, the students' outputs divided by their length.

    Train, dev and test share no class: `class_parts`. Dev of the classes that students are trained on would soon be
    faultless, and choose nothing.

    Source: Huang et al. 2019, who adapt the loss by a controller; the parts of small data sets, outputs as embeddings
        and what the controller reads are ours. That dev has classes of its own: Musgrave et al. 2020.
    """

    losses = METRIC_LOSSES
    value_name = "recall@1"
    measure_name = "dev recall@1"
    statistics_read = "tallies"
    # Φ where teaching starts, and its least value.
    first: ClassVar[tuple[float, ...]]
    least: ClassVar[float]

    def view(self, data: ImageData) -> ImageData:
        """Return the data with the classes of each part alone.

        Raises:
            InputError: a part has fewer than two classes with two images.
        """

        def of(name: str, part: ImageSet) -> ImageSet:
            classes = parts[name]
            chosen = part.at((part.labels >= classes.start) & (part.labels < classes.stop))
            found = int((torch.bincount(chosen.labels, minlength=1) > 1).sum())
            if found < 2:
                raise InputError(
                    f"metric learning gives {name} the classes {classes.start} to {classes.stop - 1} of {data.name}, "
                    f"of which {found} have two images or more, wanted 2: take data of more classes (eight or more)",
                    setting="data",
                )
            return chosen

        parts = class_parts(data.classes)
        return replace(data, train=of("train", data.train), dev=of("dev", data.dev), test=of("test", data.test))

    def start(self, form: Form, factor: float, classes: int) -> Tensor:
        return factor * torch.tensor(self.first)

    def limits(self, form: Form, classes: int) -> tuple[Tensor, Tensor]:
        return torch.full((len(self.first),), self.least), torch.full((len(self.first),), torch.inf)

    def statistics(self, statistics: str, train: ImageSet, dev: ImageSet, classes: int, form: Form) -> Statistics:
        return PairStatistics(self, dev.at(slice(STATISTICS_IMAGES)))

    @abstractmethod
    def of_pairs(self, close: Tensor, far: Tensor) -> Tensor:
        """Return what a controller reads of each coefficient, in [0, 1].

        Args:
            close, far: mean `shapes_of` distances in pairs of one class and of two, (SHAPES,) each, in [0, 2].
        """

    def measure(self, student: Student, dev: ImageSet) -> RankedMeasure:
        return RankedMeasure(student, dev, missed_neighbours, self.value_name)

    def value(self, student: Student, params: Tensor, buffers: Buffers, images: ImageSet) -> float:
        return 1.0 - float(self.lost(student, params, buffers, images).double().mean())

    def lost(self, student: Student, params: Tensor, buffers: Buffers, images: ImageSet) -> Tensor:
        """Return whether the nearest other image of each is of another class, bool."""
        return missed_neighbours(scores(student, params, buffers, images.images), images.labels)


class _Mixture(MetricTask):
    """Φ weights five increasing functions of the distance, none negatively; it starts at the distance itself."""

    first = (1.0, *(0.0,) * (SHAPES - 1))
    least = 0.0

    def features(self, statistics: str, classes: int, form: Form) -> tuple[str, ...]:
        return "updates", *(f"gap_{place}" for place in range(1, SHAPES + 1))

    def of_pairs(self, close: Tensor, far: Tensor) -> Tensor:
        """Return how much farther the others are by each function, ½ for not at all."""
        return 0.5 + (far - close) / 4.0


@TASKS.register("metric")
class TripletTask(_Mixture):
    """recall@1, by triplets whose distance is a mixture that Φ weights."""

    adapted = "adaptive_triplet"


@TASKS.register("metric_margin")
class MarginTask(_Mixture):
    """recall@1, by pairs with a margin whose distance is a mixture that Φ weights."""

    adapted = "adaptive_margin"


@TASKS.register("metric_focal")
class FocalTask(MetricTask):
    """recall@1, by soft maxima over pairs, whose two sharpnesses are Φ."""

    adapted = "adaptive_focal"
    first = (POSITIVE_FOCUS, NEGATIVE_FOCUS)
    least = LEAST_FOCUS

    def features(self, statistics: str, classes: int, form: Form) -> tuple[str, ...]:
        return "updates", "close", "far"

    def of_pairs(self, close: Tensor, far: Tensor) -> Tensor:
        """Return the mean distances of close and of far pairs, halved."""
        return torch.stack([close[0], far[0]]) / 2.0


class PairStatistics:
    """What a controller reads of each coefficient: mean distances of pairs on dev.

    Args:
        task: says what is read of them.
        dev: images to measure on.

    Cost: a forward pass over the images, and their pairs.
    """

    def __init__(self, task: MetricTask, dev: ImageSet):
        self.task = task
        self.dev = dev

    def measure(self, student: Student, params: Tensor, buffers: Buffers) -> Tensor:
        """Return s at one ω without its first feature, the share of completed updates: (features − 1,), float32."""
        logits = scores(student, params, buffers, self.dev.images).nan_to_num()
        pairs = pairs_of(logits, self.dev.labels)
        shapes = shapes_of(pairs.distances)
        close, far = (
            (shapes * kind.unsqueeze(-1)).sum(dim=(0, 1)) / kind.sum().clamp(min=1.0)
            for kind in (pairs.positive, pairs.negative)
        )
        return self.task.of_pairs(close, far).clamp(0.0, 1.0).float().cpu()
