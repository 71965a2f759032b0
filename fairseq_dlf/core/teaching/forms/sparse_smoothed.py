"""Two coefficients per type on functions of p(y) alone."""

import math
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import logsigmoid

from fairseq_dlf.core.teaching.forms.form import FORMS
from fairseq_dlf.core.teaching.forms.smoothing import PairPerType, pairs
from fairseq_dlf.core.teaching.log_probs import LogProbs, log_odds


@FORMS.register("sparse_smoothed")
@dataclass(frozen=True)
class SparseSmoothed(PairPerType):
    """reward = a_y log p(y) + b_y log((1 − p(y)) / (V − 1)); Φ is all a, then all b.

    With positive coefficients it is greatest at p(y) = a / (a + b), and does not look at how the rest is spread.

    Attributes:
        start: that of sparse label smoothing, a = 1 − ε, b = ε.

    Cost: the log-odds of y besides log p(y), two (n, types) tensors; 2 |V| coefficients.
    Source: ours, after Raymond et al. 2023.
    """

    def neutral(self, types: int) -> Tensor:
        return pairs(1.0 - self.start, self.start, types)

    def reward(self, coefficients: Tensor, log_probs: LogProbs) -> Tensor:
        target, rest = coefficients.chunk(2)
        odds = log_odds(log_probs.logits, log_probs.target)
        others = logsigmoid(-odds) - math.log(max(log_probs.logits.size(-1) - 1, 1))
        return target[log_probs.target] * logsigmoid(odds) + rest[log_probs.target] * others
