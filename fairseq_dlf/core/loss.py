"""The dynamic loss l_Φ: what the student minimises (Wu et al. 2018, section 3.2)."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class TokenLosses(NamedTuple):
    """Sums over the non-padding tokens of a batch, each a scalar tensor.

    Attributes:
        loss: what the student minimises.
        nll_nats: plain cross-entropy in nats, without a graph, for comparison between runs.
    """

    loss: Tensor
    nll_nats: Tensor


@dataclass(frozen=True)
class DiagonalLoss:
    """−σ(Φ[y]·log p(y)) for every target token, mixed with cross-entropy.

    loss = (1 − ce_share) · Σ −σ(Φ[y] log p(y)) + ce_share · Σ cross-entropy(y), where
    label smoothing, spread as in fairseq, applies within the cross-entropy's share.

    Attributes:
        padding: index of the padding symbol; its tokens count nothing.
        ce_share: α in [0, 1]; 0 is the paper's loss, 1 is cross-entropy.
        label_smoothing: ε in [0, 1).

    Cost: one (tokens, types) tensor for log p, as fairseq's cross-entropy.
    Paper: section 3.2 for the loss, section 5.2 for its diagonal form in translation.
    """

    padding: int
    ce_share: float = 0.0
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        _require_between("ce_share", self.ce_share, 0.0, 1.0)
        _require_between("label_smoothing", self.label_smoothing, 0.0, 0.999)

    def __call__(self, logits: Tensor, target: Tensor, coefficients: Tensor) -> TokenLosses:
        """
        Args:
            logits: (..., types), any float dtype; computed in float32 or better.
            target: (...), int64.
            coefficients: Φ, (types,), the dtype of the computation.
        """
        logits = logits.reshape(-1, logits.size(-1))
        target = target.reshape(-1)
        precision = torch.promote_types(logits.dtype, torch.float32)
        log_probs = functional.log_softmax(logits, dim=-1, dtype=precision)
        nll = functional.nll_loss(log_probs, target, ignore_index=self.padding, reduction="none")
        loss = nll.new_zeros(())
        if self.ce_share < 1.0:
            # Where nll is 0 by padding the sigmoid is not: those tokens are masked.
            reward = torch.sigmoid(-coefficients.to(precision)[target] * nll)
            loss = loss - (1.0 - self.ce_share) * reward.masked_fill(target == self.padding, 0.0).sum()
        if self.ce_share > 0.0:
            loss = loss + self.ce_share * self._cross_entropy(log_probs, nll, target)
        return TokenLosses(loss=loss, nll_nats=nll.detach().sum())

    def _cross_entropy(self, log_probs: Tensor, nll: Tensor, target: Tensor) -> Tensor:
        if self.label_smoothing == 0.0:
            return nll.sum()
        uniform = self.label_smoothing / (log_probs.size(-1) - 1)
        smooth = -log_probs.sum(dim=-1).masked_fill(target == self.padding, 0.0).sum()
        return (1.0 - self.label_smoothing - uniform) * nll.sum() + uniform * smooth


def _require_between(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} is {value}, but must lie between {low} and {high}")
