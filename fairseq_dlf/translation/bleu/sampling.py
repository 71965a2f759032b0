"""Samples from a student's distribution, drawn by inverting its distribution function."""

from typing import Optional

import torch
from fairseq.search import Search
from torch import Tensor

from fairseq_dlf.core.support.errors import StateError


class InverseSampling(Search):  # type: ignore[misc]  # fairseq has no types
    """A search strategy of fairseq's generator that draws each next word from the student's distribution.

    As `fairseq.search.Sampling`, whose `torch.multinomial` takes longer on a CPU than a small student's decoder.

    Raises:
        StateError: the probabilities of a row are all 0, which those of a student that diverged are.

    Cost: a cumulative sum over the types in float64.
    """

    def step(
        self,
        step: int,
        lprobs: Tensor,
        scores: Tensor,
        prev_output_tokens: Optional[Tensor] = None,
        original_batch_idxs: Optional[Tensor] = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the sum of log p up to each drawn word, the word, and the beam that it continues.

        Args:
            step: number of words that are already drawn.
            lprobs: log p of each next word, (sentences, beams, types); all beams are alike at the first step.
            scores: sums of log p of earlier steps, (sentences, beams, steps).

        Returns:
            each (sentences, beams); float, int64, int64.
        """
        sentences, beams, _ = lprobs.shape
        reached = lprobs.double().exp().cumsum(dim=-1)
        total = reached[..., -1:]
        if not bool((total > 0).all()):
            raise StateError(
                "no word has a positive probability: the student diverged; lower its learning rate, or clip its "
                "gradient (--clip-norm)"
            )
        # In (0, 1], so that the first type that reaches a share of the total has a probability.
        share = 1.0 - torch.rand(sentences, beams, 1, dtype=torch.float64, device=lprobs.device)
        words = torch.searchsorted(reached, share * total)
        found = lprobs.gather(-1, words).squeeze(-1)
        if step > 0:
            found = found + scores[:, :, step - 1]
        return found, words.squeeze(-1), torch.arange(beams, device=lprobs.device).expand(sentences, beams)
