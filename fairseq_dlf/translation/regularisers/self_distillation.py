"""Self-distillation: the student's own past predictions as a soft target."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fairseq_dlf.translation.regularisers.regulariser import REGULARISERS, Predictions, Regulariser


@REGULARISERS.register("self_distillation")
@dataclass(frozen=True)
class SelfDistillation(Regulariser):
    """R = KL(p_past‖p) of a token, where p_past are a past self's predictions without dropout, a constant.

    The past self is not the same in both places. In an episode it is the student at the episode's start, for all of
    its updates. In a student's training it is the student as it was when the present epoch began, in the first epoch
    the one that the run starts from, as with `dlf_self_distillation --distillation-from-start`. An episode that
    starts warm and lasts about an epoch is like an epoch of training.

    Beside cross-entropy, −log p(y) + w R has the gradient of 1 + w times the cross-entropy with the target
    (1 − a) · one-hot + a · p_past, where w = a / (1 − a).

    Cost: a forward pass without a graph for each update, once more in the reverse pass, and two (tokens, types)
        tensors.
    Paper: Kim et al. 2021 (PS-KD).
    """

    reads_past = True

    def of_tokens(self, predictions: Predictions) -> Tensor:
        assert predictions.past_probs is not None
        table = torch.log_softmax(predictions.logits, dim=-1, dtype=_precision(predictions.logits))
        past = predictions.past_probs.to(table.dtype)
        # Entropy by a function that is 0 where a probability is.
        entropy = torch.special.entr(past).sum(dim=-1)
        nll = predictions.mean_of_passes(-torch.linalg.vecdot(predictions.for_each_pass(past), table))
        return nll - entropy


def probs_of(logits: Tensor) -> Tensor:
    """Return p of logits, (…, types), in float32 or better."""
    return torch.softmax(logits, dim=-1, dtype=_precision(logits))


def _precision(logits: Tensor) -> torch.dtype:
    return torch.promote_types(logits.dtype, torch.float32)
