"""Candidate translations that a student proposes, with their BLEU."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from fairseq.data import data_utils
from fairseq.models import BaseFairseqModel
from fairseq.tasks import FairseqTask
from torch import Tensor

from fairseq_dlf.core.support.checks import require_at_least
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.translation.bleu.decoding import USUAL_LIMIT, LengthLimit, WordJoiner, build_generator, evaluating
from fairseq_dlf.translation.bleu.sampling import sample_translations
from fairseq_dlf.translation.bleu.scores import sentence_bleu


@dataclass(frozen=True)
class Proposals:
    """Which candidates a student proposes for each sentence.

    Attributes:
        number: of candidates before duplicates are removed, at least 1.
        method: 'sample' (from the student's distribution) or 'beam'.
        with_reference: whether the reference is one more candidate.
        distinct: whether duplicates are removed; estimators that count samples keep them.
        shortest: words that a candidate has at least; 0 allows the empty translation.
        limit: bound on the words of a candidate.
    """

    number: int
    method: str = "sample"
    with_reference: bool = False
    distinct: bool = True
    shortest: int = 1
    limit: LengthLimit = USUAL_LIMIT

    def __post_init__(self) -> None:
        require_at_least(1, candidates=self.number)
        if self.method not in ("sample", "beam"):
            raise InputError(
                f"candidates by {self.method!r} were asked for; choose 'sample' or 'beam'", setting="candidate_method"
            )

    @property
    def slots(self) -> int:
        """Return how many candidates a sentence has at most."""
        return self.number + self.with_reference


class Candidates(NamedTuple):
    """Candidate translations of a batch, and the tensors for scoring them again.

    Attributes:
        batch: net_input of a forward pass that encodes each source once: the sources, and the candidates'
            previous tokens (rows, length).
        targets: (rows, length), int64, padded.
        owners: sentence and slot of each row, (2, rows), ascending.
        bleu: sentence BLEU in [0, 1], (sentences, slots), float64; 0 in empty slots.
        present: False in empty slots, (sentences, slots), bool.
    """

    batch: dict[str, Tensor]
    targets: Tensor
    owners: Tensor
    bleu: Tensor
    present: Tensor

    def table(self, values: Tensor) -> Tensor:
        """Return the values of rows, (rows,), by sentence and slot, (sentences, slots); 0 in empty slots."""
        return values.new_zeros(self.present.shape).index_put((self.owners[0], self.owners[1]), values)


def find_candidates(
    task: FairseqTask, model: BaseFairseqModel, batch: dict[str, Any], proposals: Proposals, seed: int
) -> Candidates:
    """Decode candidates for each sentence, without dropout, and score their BLEU.

    Args:
        seed: of samples; the beam has no need of it.

    Cost: one decoding of `proposals.number` translations, and 0.1 ms of BLEU per candidate.
    """
    with evaluating(model), torch.no_grad():
        lengths = proposals.shortest, proposals.limit
        if proposals.method == "sample":
            translations = sample_translations(task, model, batch, proposals.number, *lengths, seed)
        else:
            translations = _likeliest(task, model, batch, proposals.number, *lengths)
    words = WordJoiner(task.target_dictionary)
    rows = []
    for index, (found, target) in enumerate(zip(translations, batch["target"], strict=True)):
        reference = target[target != task.target_dictionary.pad()]
        if proposals.with_reference:
            found = [*found, reference]
        if proposals.distinct:
            found = list({tuple(tokens.tolist()): tokens for tokens in found}.values())
        reference_words = words.reference(reference).split()
        for slot, tokens in enumerate(found):
            bleu = sentence_bleu(words.hypothesis(tokens).split(), reference_words)
            rows.append((index, slot, tokens, bleu))
    return collate(rows, batch, task, proposals.slots)


def _likeliest(
    task: FairseqTask, model: BaseFairseqModel, batch: dict[str, Any], number: int, shortest: int, limit: LengthLimit
) -> list[list[Tensor]]:
    """Return the n-best list of each sentence, tokens with the end of sentence."""
    found = build_generator(task, model, beam=number, **limit.options(shortest)).generate([model], batch)
    return [[hypothesis["tokens"] for hypothesis in hypotheses] for hypotheses in found]


def collate(
    rows: Sequence[tuple[int, int, Tensor, float]], batch: dict[str, Any], task: FairseqTask, slots: int
) -> Candidates:
    """Return candidates as tensors.

    Args:
        rows: sentence, slot, tokens with the end of sentence, and BLEU of each candidate, ascending.
    """
    dictionary = task.target_dictionary
    source = batch["net_input"]["src_tokens"]
    owners = torch.tensor([[i, j] for i, j, _, _ in rows], device=source.device).t()
    tokens = [row[2] for row in rows]
    targets = data_utils.collate_tokens(tokens, dictionary.pad(), dictionary.eos())
    previous = data_utils.collate_tokens(tokens, dictionary.pad(), dictionary.eos(), move_eos_to_beginning=True)
    shape = (source.size(0), slots)
    bleu = torch.zeros(shape, dtype=torch.float64, device=source.device)
    bleu[owners[0], owners[1]] = torch.tensor([row[3] for row in rows], dtype=torch.float64, device=source.device)
    present = torch.zeros(shape, dtype=torch.bool, device=source.device)
    present[owners[0], owners[1]] = True
    net_input = {
        "src_tokens": source,
        "src_lengths": batch["net_input"]["src_lengths"],
        "prev_output_tokens": previous,
    }
    return Candidates(net_input, targets, owners, bleu, present)
