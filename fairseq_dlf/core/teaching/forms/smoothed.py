"""Two coefficients per type: for the target, and for a uniform rest."""

from dataclasses import dataclass

from torch import Tensor

from fairseq_dlf.core.teaching.forms.form import FORMS
from fairseq_dlf.core.teaching.forms.smoothing import PairPerType, pairs, smoothed_reward, smoothing_weights
from fairseq_dlf.core.teaching.log_probs import LogProbs


@FORMS.register("smoothed")
@dataclass(frozen=True)
class Smoothed(PairPerType):
    """reward = a_y log p(y) + b_y · mean_j log p(j); Φ is all a, then all b.

    With `linear` it contains cross-entropy with any label smoothing.

    Attributes:
        start: that of label smoothing.

    Cost: Σ log p besides log p(y); 2 |V| coefficients.
    Source: ours.
    """

    reads_sum = True

    def neutral(self, types: int) -> Tensor:
        return pairs(*smoothing_weights(self.start, types), types)

    def uniform_share(self, share: float, types: int, weight: float = 1.0) -> Tensor:
        return weight * pairs(1.0 - share, share, types)

    def reward(self, coefficients: Tensor, log_probs: LogProbs) -> Tensor:
        target, rest = coefficients.chunk(2)
        return smoothed_reward(target[log_probs.target], rest[log_probs.target], log_probs)
