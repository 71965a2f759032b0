"""Likelihood of the dev references under a sharpened student: a measure without decoding, and without noise."""

from typing import Any

from fairseq.models import BaseFairseqModel
from torch import Tensor

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.teaching.expectations import expected_accuracy
from fairseq_dlf.translation.measures.measure import MEASURES, DevSample, Terms, TranslationMeasure


@MEASURES.register("sharpened_likelihood")
class SharpenedLikelihood(TranslationMeasure):
    """M̃(ω) = mean over the references' tokens of q(y_t | y_1..t−1, x), with q ∝ p^sharpness over all types.

    The expected accuracy of images, token by token: the greater the sharpness, the more it counts which token is
    the most probable, and the less how probable it is.

    Args:
        sharpness: β > 0.

    Raises:
        InputError: the sharpness is not positive.

    Cost of a value: a forward pass over the references; with the gradient, a backward pass more.
    Paper: section 4.1 (smoothed accuracy).
    """

    figure = "sharpened_likelihood"

    def __init__(self, dev: DevSample, sharpness: float = 5.0):
        super().__init__(dev)
        if not sharpness > 0:
            raise InputError(f"the measure's sharpness is {sharpness}, but must be positive", setting="measure")
        self.sharpness = sharpness

    def terms(self, params: Tensor, model: BaseFairseqModel, batch: dict[str, Any]) -> Terms:
        real = batch["target"] != self.dev.padding
        targets = batch["target"][real]

        def total(forward: Any) -> Tensor:
            logits = forward(**batch["net_input"])[0][real]
            return expected_accuracy(logits, targets, self.sharpness).sum()

        found = self.dev.student.run(params, total)
        return Terms(found, len(targets), found)
