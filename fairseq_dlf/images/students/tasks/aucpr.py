"""One-against-rest problems, each class a binary one, measured by the mean area under precision and recall."""

import torch
from torch import Tensor

from fairseq_dlf.core.hypergradient.student import Buffers, Student
from fairseq_dlf.core.teaching.forms import Form
from fairseq_dlf.images.data.splits import ImageSet
from fairseq_dlf.images.losses.aucpr import ANCHORS, AUCPR_LOSSES, anchored_precisions
from fairseq_dlf.images.students.accuracy import scores
from fairseq_dlf.images.students.statistics import Statistics
from fairseq_dlf.images.students.tasks.precision_recall import average_precisions, recalls_at
from fairseq_dlf.images.students.tasks.ranked import RankedMeasure
from fairseq_dlf.images.students.tasks.task import TASKS, Task


@TASKS.register("aucpr")
class AucprTask(Task):
    """AUCPR, the mean over classes; Φ holds λ_a, then b_a, of Eban et al.'s anchors, the same for all classes.

    A controller starts where their loss does, at λ_a = 1 and b_a = 0. It reads of λ_a the recall that anchor a bounds,
    and of b_a the threshold where that is reached.

    Source: Huang et al. 2019, who adapt Eban et al.'s loss; that classes share Φ, and what the controller reads, are
        ours.
    """

    losses = AUCPR_LOSSES
    adapted = "adaptive_eban"
    value_name = "AUCPR"
    measure_name = "dev AUCPR"
    statistics_read = "tallies"

    def start(self, form: Form, factor: float, classes: int) -> Tensor:
        return torch.cat([torch.full((ANCHORS,), factor), torch.zeros(ANCHORS)])

    def limits(self, form: Form, classes: int) -> tuple[Tensor, Tensor]:
        """Return bounds that keep λ from being negative."""
        free = torch.full((ANCHORS,), torch.inf)
        return torch.cat([torch.zeros(ANCHORS), -free]), torch.cat([free, free])

    def features(self, statistics: str, classes: int, form: Form) -> tuple[str, ...]:
        names = (f"{kind}_{anchor}" for kind in ("recall", "threshold") for anchor in range(1, ANCHORS + 1))
        return "updates", *names

    def statistics(self, statistics: str, train: ImageSet, dev: ImageSet, classes: int, form: Form) -> Statistics:
        return AnchorStatistics(dev)

    def measure(self, student: Student, dev: ImageSet) -> RankedMeasure:
        return RankedMeasure(student, dev, _lost, self.value_name)

    def value(self, student: Student, params: Tensor, buffers: Buffers, images: ImageSet) -> float:
        return 1.0 - float(self.lost(student, params, buffers, images).mean())

    def lost(self, student: Student, params: Tensor, buffers: Buffers, images: ImageSet) -> Tensor:
        """Return 1 − AUCPR of each class that has an image, (such classes,), float64."""
        return _lost(scores(student, params, buffers, images.images), images.labels)


def _lost(logits: Tensor, labels: Tensor) -> Tensor:
    return 1.0 - average_precisions(logits, labels)


class AnchorStatistics:
    """What a controller reads of each anchor, means over classes on dev: a number for each coefficient.

    Of λ_a the greatest recall with a precision of π_a, in [0, ½]; of b_a where its threshold lies, by the sigmoid, in
    [½, 1]. The halves tell the policy, which all coefficients share, of which of the two it reads.

    Args:
        dev: images to measure on.

    Cost: a forward pass over the images.
    """

    def __init__(self, dev: ImageSet):
        self.dev = dev

    def measure(self, student: Student, params: Tensor, buffers: Buffers) -> Tensor:
        """Return s at one ω without its first feature, the share of completed updates: (features − 1,), float32."""
        logits = scores(student, params, buffers, self.dev.images)
        recall, threshold = recalls_at(logits, self.dev.labels, anchored_precisions(ANCHORS).to(logits.device))
        halves = recall.mean(dim=1), 1.0 + torch.sigmoid(threshold).double().mean(dim=1)
        return 0.5 * torch.cat(halves).float().cpu()
