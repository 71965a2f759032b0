"""Candidates and references of a batch, scored by one forward pass that encodes each source once."""

from typing import Any, NamedTuple

import torch
from fairseq.data import Dictionary, data_utils
from torch import Tensor, nn
from torch.nn import functional

from fairseq_dlf.translation.bleu.candidates import Candidates, encoding_once, token_log_probs
from fairseq_dlf.translation.bleu.decoding import USUAL_LIMIT, LengthLimit, unwrapped


class Scored(NamedTuple):
    """What a student says of its candidates and of the references.

    Attributes:
        candidates: translations with their BLEU.
        targets: tokens of the candidates, (rows, length), int64, padded.
        logits: of the candidates, (rows, length, types), with a graph.
        reference_targets: (sentences, length), int64, padded.
        reference_logits: (sentences, length, types), with a graph.
        reference_slots: which candidate is the reference, (sentences,), int64; -1 where none is.
        longest: words of the longest translation that is decoded; its end is forced.
        padding: index of the padding symbol.
    """

    candidates: Candidates
    targets: Tensor
    logits: Tensor
    reference_targets: Tensor
    reference_logits: Tensor
    reference_slots: Tensor
    longest: int
    padding: int

    @property
    def real(self) -> Tensor:
        """Return where the candidates have tokens, (rows, length), bool."""
        return self.targets != self.padding

    @property
    def lengths(self) -> Tensor:
        """Return the number of tokens of each candidate, its end included, (rows,), int64."""
        return self.real.sum(dim=1)

    @property
    def log_probs(self) -> Tensor:
        """Return log p of each token, (rows, length), in float32 or better; 0 where there is none."""
        return token_log_probs(self.logits, self.targets, self.padding)

    @property
    def token_logits(self) -> Tensor:
        """Return the logit of each token, (rows, length), in float32 or better; 0 where there is none."""
        chosen = self.logits.gather(-1, self.targets.unsqueeze(-1)).squeeze(-1)
        chosen = chosen.to(torch.promote_types(chosen.dtype, torch.float32))
        return chosen.masked_fill(~self.real, 0.0)

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
    batch = {**candidates.batch, "prev_output_tokens": torch.cat([previous, begun[missing]])}
    inner = unwrapped(model)
    with encoding_once(inner, torch.cat([owners, missing])):
        logits = model(**batch)[0]
    rows = candidates.table(torch.arange(len(owners), device=owners.device)).gather(1, slots.clamp(min=0).unsqueeze(1))
    rows = rows.squeeze(1).index_put((missing,), len(owners) + torch.arange(len(missing), device=owners.device))
    longest = limit.longest(inner, batch["src_tokens"].size(1))
    return Scored(candidates, targets, logits[: len(owners)], wanted, logits[rows], slots, longest, words.pad())


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
