"""Two coefficients for each bin of types that are about as frequent."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fairseq_dlf.core.teaching.forms.binned import Binned
from fairseq_dlf.core.teaching.forms.form import FORMS
from fairseq_dlf.core.teaching.forms.smoothing import pairs, smoothed_reward, smoothing_weights
from fairseq_dlf.core.teaching.log_probs import LogProbs


@FORMS.register("bins")
@dataclass(frozen=True)
class Bins(Binned):
    """reward = a_k log p(y) + b_k · mean_j log p(j) for the bin k of y; Φ is all a, then all b.

    One bin is plain label smoothing with a weight.

    Cost: as `Smoothed`; 2 · bins coefficients.
    Source: ours.
    """

    def size(self, types: int) -> int:
        return 2 * self.bins

    def neutral(self, types: int) -> Tensor:
        return pairs(*smoothing_weights(self.start, types), self.bins)

    def uniform_share(self, share: float, types: int, weight: float = 1.0) -> Tensor:
        return weight * pairs(1.0 - share, share, self.bins)

    def reward(self, coefficients: Tensor, log_probs: LogProbs) -> Tensor:
        place = self.bin_of(log_probs.target)
        target, rest = coefficients.chunk(2)
        return smoothed_reward(target[place], rest[place], log_probs)

    def tallies(self, log_probs: LogProbs) -> tuple[Tensor, Tensor]:
        """Return what each coefficient multiplies, negated: −log p(y) for a_k, −mean_j log p(j) for b_k."""
        assert log_probs.summed is not None
        rest = log_probs.summed / log_probs.logits.size(-1)
        sums, tokens = self.summed_by_bin(-log_probs.of_target, log_probs.target)
        return torch.cat([sums, self.summed_by_bin(-rest, log_probs.target)[0]]), torch.cat([tokens, tokens])
