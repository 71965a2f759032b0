"""Samples from a student's distribution, each drawn by its own random numbers."""

from collections.abc import Sequence
from typing import Any, Optional

import torch
from fairseq.models import BaseFairseqModel
from fairseq.search import Search
from fairseq.tasks import FairseqTask
from torch import Tensor

from fairseq_dlf.core.support.errors import StateError
from fairseq_dlf.core.support.seeds import mixed_seed
from fairseq_dlf.translation.bleu.decoding import LengthLimit, build_generator
from fairseq_dlf.translation.bleu.forwards import encoding_once


class InverseSampling(Search):  # type: ignore[misc]  # fairseq has no types
    """A search strategy of fairseq's generator that inverts the distribution function of each next word.

    As `fairseq.search.Sampling` with a beam of 1, but with given random numbers; on a CPU, the latter's
    `torch.multinomial` takes longer than a small student's decoder.

    Args:
        uniforms: in [0, 1), (translations, steps), float64.

    Raises:
        StateError: the probabilities of a row are all 0, as those of a student that diverged.

    Cost: a cumulative sum over the types in float64.
    """

    def __init__(self, dictionary: Any, uniforms: Tensor):
        super().__init__(dictionary)
        # In (0, 1], so that the first type that reaches a share of the total has a probability.
        self._shares = 1.0 - uniforms

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
            lprobs: log p of each next word, (translations left, 1, types).
            scores: sums of log p of earlier steps, (translations left, 1, steps).
            original_batch_idxs: which translations are left, int64.

        Returns:
            each (translations left, 1); float, int64, int64.
        """
        reached = lprobs.double().exp().cumsum(dim=-1)
        total = reached[..., -1:]
        if not bool((total > 0).all()):
            raise StateError(
                "no word has a positive probability: the student diverged; lower its learning rate, or clip its "
                "gradient (--clip-norm)"
            )
        words = torch.searchsorted(reached, self._shares[original_batch_idxs, step].view(-1, 1, 1) * total)
        found = lprobs.gather(-1, words).squeeze(-1)
        if step > 0:
            found = found + scores[:, :, step - 1]
        return found, words.squeeze(-1), torch.zeros_like(words).squeeze(-1)


def sample_translations(
    task: FairseqTask,
    model: BaseFairseqModel,
    batch: dict[str, Any],
    number: int,
    shortest: int,
    limit: LengthLimit,
    seed: int,
) -> list[list[Tensor]]:
    """Return translations of each sentence, drawn from the model; duplicates are kept.

    A sample depends on the model, the seed, the sentence's `id` and its own number; on nothing else of the batch but
    the bound on its length, where it reaches that, and not on the worker. Samples from similar models are similar,
    since they are drawn by common random numbers.

    Args:
        number: of translations of each sentence.
        shortest: words that they have at least.
        limit: bound on their words.

    Returns:
        tokens, (length,), int64, with the end of sentence, by sentence.

    Cost: one encoding of each source, one greedy decoding of each translation.
    """
    source = batch["net_input"]["src_tokens"]
    longest = limit.longest(model, source.size(1))
    rows = torch.arange(source.size(0), device=source.device).repeat_interleave(number)
    drawn = [_uniforms(mixed_seed(seed, i, n), longest + 1) for i in batch["id"].tolist() for n in range(number)]
    # Of beam 1, so that a translation is dropped as soon as it ends.
    generator = build_generator(task, model, beam=1, **limit.options(shortest))
    generator.search = InverseSampling(task.target_dictionary, torch.stack(drawn).to(source.device))
    with encoding_once(model, rows):
        net_input = {name: batch["net_input"][name][rows] for name in ("src_tokens", "src_lengths")}
        found: Sequence[Any] = generator.generate([model], {"net_input": net_input})
    tokens = [translations[0]["tokens"] for translations in found]
    return [tokens[first : first + number] for first in range(0, len(tokens), number)]


def _uniforms(seed: int, steps: int) -> Tensor:
    """Return numbers in [0, 1), (steps,), on the CPU, so that all devices draw the same; more steps begin with them."""
    return torch.rand(steps, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
