"""What a student would do after each prefix of the translations that were sampled from it."""

from typing import NamedTuple

import torch
from torch import Tensor

from fairseq_dlf.translation.students.losses.scored import Scored


class Policy(NamedTuple):
    """What the student would do after each prefix of the sampled translations.

    Attributes:
        probs: p(a | ŷ_1..t−1), (rows, length, types), with a graph; 0 for what is never done.
        taken: ŷ_t, (rows, length), int64, padded on the right.
        real: False at padding, (rows, length), bool.
    """

    probs: Tensor
    taken: Tensor
    real: Tensor


def policy_of(scored: Scored, end: int) -> Policy:
    """Return the policy that fairseq samples from, in float32 or better: no padding, and a forced end.

    Args:
        scored: the sampled translations.
        end: index of the end of sentence, the only token after the longest translation.
    """
    # The table of scores may be wider, where a reference is longer than all samples.
    taken = scored.candidates.targets
    logits = scored.every.spread(scored.every.precise)[: scored.number, : taken.size(1)]
    types = torch.arange(logits.size(-1), device=logits.device)
    forced = torch.arange(logits.size(1), device=logits.device) >= scored.longest
    never = (types == scored.every.padding) | (forced.unsqueeze(1) & (types != end))
    return Policy(logits.masked_fill(never, -torch.inf).softmax(-1), taken, taken != scored.every.padding)
