"""Two passes of each sentence through a student, with different dropout masks, and how far they disagree."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from fairseq_dlf.core.support.errors import StateError

# Nats per token: above the rounding of equal predictions in float32, far below what dropout does even to a
# student that has learnt nothing yet.
NO_DIFFERENCE = 1e-11


def twice(net_input: Mapping[str, Any]) -> dict[str, Any]:
    """Return a batch with each sentence twice in a row, so that lengths stay sorted."""
    return {
        name: value.repeat_interleave(2, dim=0) if isinstance(value, Tensor) else value
        for name, value in net_input.items()
    }


def require_difference(per_token: float, owner: str, advice: str) -> None:
    """Raise StateError if two passes agree, because there is no dropout.

    Args:
        per_token: the mean of the two divergences, in nats.
        owner: who compares them, for the message; `advice` says what to do.
    """
    if per_token <= NO_DIFFERENCE:
        raise StateError(f"the two passes of {owner} agree, so that there is nothing to compare: {advice}")


def symmetric_divergence(logits: Tensor) -> Tensor:
    """Return KL(p₁‖p₂) + KL(p₂‖p₁) = Σ (p₁ − p₂) (log p₁ − log p₂) for neighbouring rows.

    Args:
        logits: (2 rows, tokens, types), rows 0 and 1 to compare, then 2 and 3, …; any float dtype.

    Returns:
        (rows, tokens), in nats, float32 or better.

    Cost: three (rows · tokens, types) tensors in the forward pass, none of them kept, and six in the backward
        pass; plain autograd would keep four.
    """
    paired = logits.reshape(-1, 2, *logits.shape[1:])  # (rows, 2, tokens, types)
    return _SymmetricDivergence.apply(paired)


class _SymmetricDivergence(torch.autograd.Function):
    """The divergence, whose backward pass computes the probabilities again; it can be differentiated once more.

    With d = log p₁ − log p₂, the gradient of the first logits is p₁ (d − Σ p₁ d) + p₁ − p₂, and that of the
    second is the negative of p₂ (d − Σ p₂ d) + p₁ − p₂.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        ctx.save_for_backward(logits)
        table = _log_softmax(logits)
        difference = table[:, 0] - table[:, 1]
        probs = table.exp_()
        return torch.linalg.vecdot(probs[:, 0].sub_(probs[:, 1]), difference)

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Tensor:
        (logits,) = ctx.saved_tensors
        # In place if no further derivative is taken: each tensor is the size of all logits.
        times, plus = (torch.mul, torch.add) if torch.is_grad_enabled() else (Tensor.mul_, Tensor.add_)
        table = _log_softmax(logits)
        difference = (table[:, 0] - table[:, 1]).unsqueeze(1)
        probs = table.exp() if torch.is_grad_enabled() else table.exp_()
        gradient = difference - torch.linalg.vecdot(probs, difference).unsqueeze(-1)
        gradient = plus(times(gradient, probs), probs[:, :1] - probs[:, 1:])
        sign = gradient.new_tensor([1.0, -1.0]).view(2, 1, 1)
        return times(gradient, sign * cotangents[0].unsqueeze(1).unsqueeze(-1)).to(logits.dtype)


def _log_softmax(logits: Tensor) -> Tensor:
    return torch.log_softmax(logits, dim=-1, dtype=torch.promote_types(logits.dtype, torch.float32))
