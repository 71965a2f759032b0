"""R-Drop: agreement of two passes with different dropout masks."""

from dataclasses import dataclass

from torch import Tensor

from fairseq_dlf.translation.regularisers.passes import require_difference, symmetric_divergence
from fairseq_dlf.translation.regularisers.regulariser import REGULARISERS, Predictions, Regulariser

ADVICE = (
    "train with dropout (such as --dropout 0.3, in episodes --student-dropout 0.3), or leave the regulariser out of "
    "the teacher"
)


@REGULARISERS.register("r_drop")
@dataclass(frozen=True)
class RDrop(Regulariser):
    """R = ¼ [KL(p₁‖p₂) + KL(p₂‖p₁)] of a token, whose weight is the α of `dlf_r_drop`'s `--r-drop-weight`.

    Published for IWSLT14 beside cross-entropy: a weight of 5.

    Raises:
        StateError: in the first batch if the two passes agree, for want of dropout.

    Cost: a step on twice as many sentences, and at the peak six (tokens, types) tensors more.
    Paper: Wu et al. 2021, equation 2.
    """

    reads_two_passes = True

    def of_tokens(self, predictions: Predictions) -> Tensor:
        return 0.25 * symmetric_divergence(predictions.logits)

    def require_effect(self, per_token: float) -> None:
        require_difference(2 * per_token, f"the regulariser {self.name}", ADVICE)
