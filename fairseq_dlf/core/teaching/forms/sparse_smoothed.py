"""Two coefficients per type on functions of p(y) alone."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from fairseq_dlf.core.teaching.forms.form import FORMS, Form
from fairseq_dlf.core.teaching.forms.smoothing import require_smoothing
from fairseq_dlf.core.teaching.log_probs import LogProbs, log_odds


@FORMS.register("sparse_smoothed")
@dataclass(frozen=True)
class SparseSmoothed(Form):
    """reward = a_y log p(y) + b_y log((1 − p(y)) / (V − 1)); Φ is all a, then all b.

    With positive coefficients it is greatest at p(y) = a / (a + b), and does not look at how the rest is spread.

    Attributes:
        start: ε of the sparse label smoothing from which teaching starts, a = 1 − ε, b = ε; 0 is cross-entropy.

    Cost: the log-odds of y besides log p(y), two (n, types) tensors; 2 |V| coefficients.
    Source: ours, after Raymond et al. 2023.
    """

    start: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_smoothing(self.start)

    def size(self, types: int) -> int:
        return 2 * types

    def neutral(self, types: int) -> Tensor:
        return torch.cat([torch.full((types,), 1.0 - self.start), torch.full((types,), self.start)])

    def reward(self, coefficients: Tensor, log_probs: LogProbs) -> Tensor:
        target, rest = coefficients.chunk(2)
        odds = log_odds(log_probs.logits, log_probs.target)
        others = logsigmoid(-odds) - math.log(max(log_probs.logits.size(-1) - 1, 1))
        return target[log_probs.target] * logsigmoid(odds) + rest[log_probs.target] * others
