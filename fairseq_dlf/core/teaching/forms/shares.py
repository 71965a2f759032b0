"""One coefficient for each bin of types: the share of a uniform target."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fairseq_dlf.core.teaching.forms.binned import Binned
from fairseq_dlf.core.teaching.forms.form import FORMS
from fairseq_dlf.core.teaching.forms.smoothing import smoothed_reward, smoothing_weights
from fairseq_dlf.core.teaching.log_probs import LogProbs


@FORMS.register("shares")
@dataclass(frozen=True)
class Shares(Binned):
    """reward = (1 − Φ_k) log p(y) + Φ_k · mean_j log p(j) for the bin k of y, with 0 ≤ Φ_k ≤ 1.

    One bin, the default, and `linear` are label smoothing whose ε a teacher chooses. The weight of a token, which an
    optimiser such as Adam would undo, is no coefficient: a schedule has one number for each knot.

    Cost: as `Smoothed`; as many coefficients as bins.
    Source: ours.
    """

    number: int = 1

    def size(self, types: int) -> int:
        return self.bins

    def neutral(self, types: int) -> Tensor:
        return torch.full((self.bins,), smoothing_weights(self.start, types)[1])

    def uniform_share(self, share: float, types: int, weight: float = 1.0) -> Tensor | None:
        return torch.full((self.bins,), share) if weight == 1.0 else None

    def bounds(self, types: int) -> tuple[float, float]:
        return 0.0, 1.0

    def reward(self, coefficients: Tensor, log_probs: LogProbs) -> Tensor:
        share = coefficients[self.bin_of(log_probs.target)]
        return smoothed_reward(1.0 - share, share, log_probs)

    def tallies(self, log_probs: LogProbs) -> tuple[Tensor, Tensor]:
        """Return −log p(y) in the bin of each coefficient."""
        return self.summed_by_bin(-log_probs.of_target, log_probs.target)
