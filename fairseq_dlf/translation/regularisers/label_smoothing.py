"""Label smoothing: a uniform target beside the loss."""

from dataclasses import dataclass

from torch import Tensor

from fairseq_dlf.core.teaching.log_probs import log_probs
from fairseq_dlf.translation.regularisers.regulariser import REGULARISERS, Predictions, Regulariser


@REGULARISERS.register("label_smoothing")
@dataclass(frozen=True)
class LabelSmoothing(Regulariser):
    """R = −Σ_j log p(j) / V of a token, over all V types.

    Beside cross-entropy, −log p(y) + w R is 1 + w times the cross-entropy with the target
    (1 − ε) · one-hot + ε / V, where w = ε / (1 − ε). fairseq, which gives the target no share of the uniform rest,
    calls this ε (V − 1) / V.

    Cost: a softmax, and one (tokens, types) tensor in the backward pass.
    Source: Szegedy et al. 2016, section 7.
    """

    def of_tokens(self, predictions: Predictions) -> Tensor:
        logits, target = predictions.logits, predictions.for_each_pass(predictions.target)
        summed = log_probs(logits.flatten(0, 1), target.flatten(), summed=True).summed
        assert summed is not None
        return predictions.mean_of_passes(-summed.view_as(target) / logits.size(-1))
