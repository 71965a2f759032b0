"""Log-probabilities of targets, computed from the logits with second derivatives and little memory."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor


class LogProbs(NamedTuple):
    """A student's predictions, as a form of Φ sees them.

    Attributes:
        logits: (n, types), the student's output.
        target: y, (n,), int64.
        of_target: log p(y), (n,), float32 or better; 0 where the target is padding.
        summed: Σ log p over all types, (n,); None if the form does not read it.
        every: log p, (n, types); None if the form does not read it.
    """

    logits: Tensor
    target: Tensor
    of_target: Tensor
    summed: Tensor | None
    every: Tensor | None


def log_probs(
    logits: Tensor, target: Tensor, padding: Tensor | None = None, summed: bool = False, every: bool = False
) -> LogProbs:
    """Return the log-probabilities that will be read.

    Args:
        logits: (n, types), any float dtype; the computation is in float32 or better.
        target: (n,), int64.
        padding: True where a target does not count, (n,), bool; None if all targets count.
        summed, every: whether these fields are computed.

    Cost: one (n, types) tensor in the backward pass; three with `every`.
    """
    log_prob_sum = None
    if every:
        table = torch.log_softmax(logits, dim=-1, dtype=_precision(logits))
        of_target = table.gather(1, target.unsqueeze(1)).squeeze(1)
        log_prob_sum = table.sum(dim=-1) if summed else None
    else:
        table = None
        of_target, log_prob_sum = _TargetLogProbs.apply(logits, target, summed)
    if padding is not None:
        of_target = of_target.masked_fill(padding, 0.0)
        log_prob_sum = None if log_prob_sum is None else log_prob_sum.masked_fill(padding, 0.0)
    return LogProbs(logits, target, of_target, log_prob_sum, table)


def log_odds(logits: Tensor, target: Tensor) -> Tensor:
    """Return log p(y) − log(1 − p(y)), exact however close p(y) is to 0 or 1.

    Args:
        logits: (n, types), any float dtype; the computation is in float32 or better.
        target: (n,), int64.

    Returns:
        (n,), float32 or better.

    Cost: two (n, types) tensors in the forward pass and three in the backward pass.
    """
    logits = logits.to(_precision(logits))
    index = target.unsqueeze(1)
    others = torch.logsumexp(logits.scatter(1, index, -math.inf), dim=1)
    return logits.gather(1, index).squeeze(1) - others


class _TargetLogProbs(torch.autograd.Function):
    """log p(y), and Σ log p over all types on demand.

    A log-softmax would keep an (n, types) tensor for the backward pass and make two
    more there; this function keeps no such tensor and makes one.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, with_sum: bool) -> tuple[Tensor, Tensor | None]:
        ctx.save_for_backward(logits, target)
        # A whole log-softmax, which is not kept: its fused kernel is faster than a log-sum-exp.
        table = torch.log_softmax(logits, dim=-1, dtype=_precision(logits))
        log_prob = table.gather(1, target.unsqueeze(1)).squeeze(1)
        return log_prob, table.sum(dim=-1) if with_sum else None

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> tuple[Tensor, None, None]:
        return _LogitsGradient.apply(*ctx.saved_tensors, *cotangents), None, None


class _LogitsGradient(torch.autograd.Function):
    """The backward pass of `_TargetLogProbs`, which can be differentiated once more.

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
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None, Tensor, Tensor | None]:
        logits, target, of_target, of_sum = ctx.saved_tensors
        types = logits.size(-1)
        # In place if no further derivative is taken: each pass over (n, types) costs bandwidth.
        times = torch.mul if torch.is_grad_enabled() else Tensor.mul_
        probs = _probs(logits)
        cotangent = cotangent.to(probs.dtype)
        mean = torch.linalg.vecdot(probs, cotangent)
        for_target = cotangent.gather(1, target.unsqueeze(1)).squeeze(1) - mean
        for_sum = cotangent.sum(dim=-1) - types * mean if of_sum is not None else None
        centred = torch.sub(cotangent, mean.unsqueeze(1))
        for_logits = times(times(probs, centred), -_weight(of_target, of_sum, types).unsqueeze(1))
        return for_logits.to(logits.dtype), None, for_target, for_sum


def _precision(logits: Tensor) -> torch.dtype:
    return torch.promote_types(logits.dtype, torch.float32)


def _probs(logits: Tensor) -> Tensor:
    """Return p in float32 or better, as a new tensor."""
    return torch.softmax(logits, dim=-1, dtype=_precision(logits))


def _weight(of_target: Tensor, of_sum: Tensor | None, types: int) -> Tensor:
    return of_target if of_sum is None else of_target + types * of_sum
