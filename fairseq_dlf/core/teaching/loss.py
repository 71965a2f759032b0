"""The dynamic loss l_Φ: what the student minimises (Wu et al. 2018, section 3.2)."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


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

    Cost: besides the logits, one (tokens, types) tensor in the backward pass; fairseq's
        cross-entropy makes three.
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
        padding = target == self.padding
        smooths = self.ce_share > 0.0 and self.label_smoothing > 0.0
        log_prob, log_prob_sum = _TokenLogProbs.apply(logits, target, smooths)
        nll = -log_prob.masked_fill(padding, 0.0)
        loss = nll.new_zeros(())
        if self.ce_share < 1.0:
            # Where nll is 0 by padding the sigmoid is not: those tokens are masked.
            reward = torch.sigmoid(-coefficients.to(nll.dtype)[target] * nll)
            loss = loss - (1.0 - self.ce_share) * reward.masked_fill(padding, 0.0).sum()
        if self.ce_share > 0.0:
            smooth = -log_prob_sum.masked_fill(padding, 0.0) if smooths else None
            loss = loss + self.ce_share * self._cross_entropy(nll, smooth, logits.size(-1))
        return TokenLosses(loss=loss, nll_nats=nll.detach().sum())

    def _cross_entropy(self, nll: Tensor, smooth: Tensor | None, types: int) -> Tensor:
        if smooth is None:
            return nll.sum()
        uniform = self.label_smoothing / (types - 1)
        return (1.0 - self.label_smoothing - uniform) * nll.sum() + uniform * smooth.sum()


@dataclass(frozen=True)
class MatrixLoss:
    """−σ(yᵀΦ log p) for every example, mixed with cross-entropy.

    Attributes:
        ce_share: α in [0, 1]; 0 is the paper's loss, 1 is cross-entropy.

    Cost: a few (examples, classes) tensors.
    Paper: section 3.2, with the full matrix of image classification (section 5.1).
    """

    ce_share: float = 0.0

    def __post_init__(self) -> None:
        _require_between("ce_share", self.ce_share, 0.0, 1.0)

    def __call__(self, logits: Tensor, labels: Tensor, coefficients: Tensor) -> Tensor:
        """The mean loss of a batch, a scalar.

        Args:
            logits: (examples, classes).
            labels: (examples,), int64.
            coefficients: Φ row by row, (classes²,): row y belongs to examples of class y.

        Raises:
            ValueError: Φ is not a matrix of these classes.
        """
        classes = logits.size(-1)
        if coefficients.numel() != classes**2:
            raise ValueError(
                f"{coefficients.numel():,} coefficients were given, but a matrix of {classes} classes has "
                f"{classes**2:,}: pass a teacher of these classes"
            )
        log_probs = torch.log_softmax(logits, dim=-1)
        rows = coefficients.view(classes, classes)[labels]
        loss = -torch.sigmoid((rows * log_probs).sum(dim=-1)).mean()
        if self.ce_share == 0.0:
            return loss
        cross_entropy = -log_probs.gather(1, labels.unsqueeze(1)).mean()
        return (1.0 - self.ce_share) * loss + self.ce_share * cross_entropy


class _TokenLogProbs(torch.autograd.Function):
    """log p(y), and Σ log p over all types where asked for, straight from the logits.

    A log-softmax would keep a (tokens, types) tensor for the backward pass and make two
    more there; this keeps none and makes one.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, with_sum: bool) -> tuple[Tensor, Tensor | None]:
        ctx.save_for_backward(logits, target)
        # A whole log-softmax, not kept: its fused kernel is faster than a log-sum-exp.
        log_probs = torch.log_softmax(logits, dim=-1, dtype=torch.promote_types(logits.dtype, torch.float32))
        log_prob = log_probs.gather(1, target.unsqueeze(1)).squeeze(1)
        return log_prob, log_probs.sum(dim=-1) if with_sum else None

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> tuple[Tensor, None, None]:
        return _LogitsGradient.apply(*ctx.saved_tensors, *cotangents), None, None


class _LogitsGradient(torch.autograd.Function):
    """The backward of `_TokenLogProbs`, with a derivative of its own.

    With c and d the cotangents of log p(y) and Σ log p, the logits' gradient is
    c e_y + d 1 − (c + |V| d) p.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, of_target: Tensor, of_sum: Tensor | None) -> Tensor:
        ctx.save_for_backward(logits, target, of_target, of_sum)
        gradient = _probs(logits).mul_(-_weight(of_target, of_sum, logits.size(-1)).unsqueeze(1))
        if of_sum is not None:
            gradient += of_sum.unsqueeze(1)
        return gradient.scatter_add_(1, target.unsqueeze(1), of_target.unsqueeze(1)).to(logits.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None, Tensor, Tensor | None]:
        logits, target, of_target, of_sum = ctx.saved_tensors
        types = logits.size(-1)
        probs = _probs(logits)
        cotangent = cotangent.to(probs.dtype)
        mean = torch.linalg.vecdot(probs, cotangent)
        for_target = cotangent.gather(1, target.unsqueeze(1)).squeeze(1) - mean
        for_sum = cotangent.sum(dim=-1) - types * mean if of_sum is not None else None
        centred = torch.sub(cotangent, mean.unsqueeze(1))
        for_logits = probs.mul_(centred).mul_(-_weight(of_target, of_sum, types).unsqueeze(1))
        return for_logits.to(logits.dtype), None, for_target, for_sum


def _probs(logits: Tensor) -> Tensor:
    """p in float32 or better, a new tensor."""
    return torch.softmax(logits, dim=-1, dtype=torch.promote_types(logits.dtype, torch.float32))


def _weight(of_target: Tensor, of_sum: Tensor | None, types: int) -> Tensor:
    return of_target if of_sum is None else of_target + types * of_sum


def _require_between(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} is {value}, but must lie between {low} and {high}")
