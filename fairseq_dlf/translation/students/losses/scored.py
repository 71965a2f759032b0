"""Candidates and references of a batch, scored by one forward pass that encodes each source once."""

from typing import Any, NamedTuple

import torch
from fairseq.data import Dictionary, data_utils
from torch import Tensor, nn
from torch.nn import functional

from fairseq_dlf.translation.bleu.candidates import Candidates
from fairseq_dlf.translation.bleu.decoding import USUAL_LIMIT, LengthLimit, unwrapped
from fairseq_dlf.translation.bleu.scoring import TokenScores, score_tokens


class Scored(NamedTuple):
    """What a student says of its candidates and of the references.

    Attributes:
        candidates: translations with their BLEU.
        every: scores of the candidates and, below them, of the references that are none.
        reference_rows: which row of `every` is the reference of each sentence, (sentences,), int64.
        reference_slots: which candidate is the reference, (sentences,), int64; -1 where none is.
        longest: words of the longest translation that is decoded; its end is forced.
    """

    candidates: Candidates
    every: TokenScores
    reference_rows: Tensor
    reference_slots: Tensor
    longest: int

    @property
    def number(self) -> int:
        """Return the number of candidates of all sentences."""
        return self.candidates.owners.size(1)

    @property
    def targets(self) -> Tensor:
        """Return the tokens of the candidates, (rows, length), int64, padded."""
        return self.every.targets[: self.number]

    @property
    def lengths(self) -> Tensor:
        """Return the number of tokens of each candidate, its end included, (rows,), int64."""
        return self.every.real[: self.number].sum(dim=1)

    @property
    def log_probs(self) -> Tensor:
        """Return log p of each token of the candidates, (rows, length), in float32 or better; 0 at padding."""
        return self.every.log_probs[: self.number]

    @property
    def token_logits(self) -> Tensor:
        """Return the logit of each token of the candidates, (rows, length), in float32 or better; 0 at padding."""
        return self.every.token_logits[: self.number]

    @property
    def references(self) -> TokenScores:
        """Return the scores of the references, in the order of the sentences."""
        return self.every.of_rows(self.reference_rows)

    def means(self, values: Tensor) -> Tensor:
        """Return the means over tokens of values, (rows, length), as a table, (sentences, slots)."""
        return self.candidates.table(values.sum(dim=1) / self.lengths)


def score_candidates(
    model: nn.Module,
    sample: dict[str, Any],
    candidates: Candidates,
    words: Dictionary,
    limit: LengthLimit = USUAL_LIMIT,
) -> Scored:
    """Score candidates and references in one forward pass; a reference that is also a candidate is scored once.

    Args:
        model: the student, in fairseq's and torch's wrappers.
        limit: with which the candidates were decoded.

    Cost: one encoding of each source, one decoding of each candidate and of each reference that is none.
    """
    references = [row[row != words.pad()] for row in sample["target"]]
    width = max(candidates.targets.size(1), *(len(reference) for reference in references))
    wanted, begun = _collated(references, words, width)
    targets = _widened(candidates.targets, words.pad(), width)
    previous = _widened(candidates.batch["prev_output_tokens"], words.pad(), width)
    owners = candidates.owners[0]
    slots = _slots_of_references(candidates, targets, wanted)
    (missing,) = torch.nonzero(slots < 0, as_tuple=True)
    net_input = {**candidates.batch, "prev_output_tokens": torch.cat([previous, begun[missing]])}
    inner = unwrapped(model)
    rows = torch.cat([owners, missing]), torch.cat([targets, wanted[missing]])
    every = score_tokens(model, inner, net_input, *rows, words.pad())
    found = candidates.table(torch.arange(len(owners), device=owners.device)).gather(1, slots.clamp(min=0).unsqueeze(1))
    below = len(owners) + torch.arange(len(missing), device=owners.device)
    reference_rows = found.squeeze(1).index_put((missing,), below)
    return Scored(candidates, every, reference_rows, slots, limit.longest(inner, net_input["src_tokens"].size(1)))


def _slots_of_references(candidates: Candidates, targets: Tensor, references: Tensor) -> Tensor:
    """Return the first slot of each sentence that holds the reference, or -1, (sentences,), int64."""
    equal = candidates.table((targets == references[candidates.owners[0]]).all(dim=1).long())
    return torch.where(equal.any(dim=1), equal.argmax(dim=1), -1)


def _collated(rows: list[Tensor], words: Dictionary, width: int) -> tuple[Tensor, Tensor]:
    """Return sentences padded to a width, and their previous tokens."""
    targets, previous = (
        data_utils.collate_tokens(rows, words.pad(), words.eos(), move_eos_to_beginning=moved, pad_to_length=width)
        for moved in (False, True)
    )
    return targets, previous


def _widened(rows: Tensor, padding: int, width: int) -> Tensor:
    return functional.pad(rows, (0, width - rows.size(1)), value=padding)
