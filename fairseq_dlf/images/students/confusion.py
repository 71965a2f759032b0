"""Another s_t of image classification: the share of completed updates, and how classes are confused."""

import math

import torch
from torch import Tensor

from fairseq_dlf.core.hypergradient.student import Buffers, Student
from fairseq_dlf.core.teaching.forms import Form, Matrix
from fairseq_dlf.images.data.splits import ImageSet
from fairseq_dlf.images.students.accuracy import log_probabilities


def features(classes: int, form: Form) -> tuple[str, ...]:
    """Return the names of the features: every pair of classes for a matrix, or the means of two kinds of pairs."""
    if not isinstance(form, Matrix):
        return "updates", "nll_own", "nll_other"
    return "updates", *(f"nll_{own}_{other}" for own in range(classes) for other in range(classes))


class StudentConfusion:
    """C_ij, the mean of −log p_j over dev images of class i, as C / (C + log classes): chance is 0.5.

    Where Φ is no matrix, these are the mean of C_ii over classes, and that of all other C_ij.

    Args:
        dev: images to measure on.
        classes: number of classes.
        form: of Φ.

    Cost: a forward pass over the images.
    Source: Huang et al. 2019; the scale, in [0, 1] for any number of classes, is ours.
    """

    def __init__(self, dev: ImageSet, classes: int, form: Form):
        self.dev = dev
        self.classes = classes
        self.pooled = not isinstance(form, Matrix)

    def measure(self, student: Student, params: Tensor, buffers: Buffers) -> Tensor:
        """Return s at one ω without its first feature, the share of completed updates: (features − 1,), float32."""
        nll = -log_probabilities(student, params, buffers, self.dev.images)
        sums = nll.new_zeros(self.classes, self.classes).index_add(0, self.dev.labels, nll)
        counts = torch.bincount(self.dev.labels, minlength=self.classes).unsqueeze(1)
        chance = math.log(self.classes)
        # Of a class without images nothing is known; a student that has diverged is as bad as can be.
        mean = torch.where(counts > 0, sums / counts.clamp(min=1), chance)
        scaled = (1.0 - chance / (mean + chance)).nan_to_num(1.0).clamp(0.0, 1.0).cpu()
        if not self.pooled:
            return scaled.flatten()
        own = scaled.diagonal()
        others = (scaled.sum() - own.sum()) / (self.classes * (self.classes - 1))
        return torch.stack([own.mean(), others])
