"""The paper's smoothed measure of images: expected accuracy."""

from torch import Tensor

from fairseq_dlf.core.hypergradient.student import Student
from fairseq_dlf.core.support.checks import require_positive
from fairseq_dlf.core.teaching.expectations import expected_accuracy
from fairseq_dlf.images.data.splits import ImageSet
from fairseq_dlf.images.measures.measure import MEASURES, ImageMeasure


@MEASURES.register("expected_accuracy")
class ExpectedAccuracy(ImageMeasure):
    """M̃(ω) = mean q(y) over dev images, q ∝ p^sharpness.

    Args:
        sharpness: as in `expected_accuracy`.

    Raises:
        InputError: the sharpness is not positive.

    Paper: section 4.1.
    """

    def __init__(self, student: Student, images: ImageSet, sharpness: float = 1.0):
        super().__init__(student, images)
        require_positive(sharpness=sharpness)
        self.sharpness = sharpness

    def of_images(self, logits: Tensor, labels: Tensor) -> Tensor:
        return expected_accuracy(logits, labels, self.sharpness)
