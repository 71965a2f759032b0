"""Candidate translations that a student proposes, with their BLEU, and one forward pass that scores them all."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from fairseq.data import data_utils
from fairseq.models import BaseFairseqModel
from fairseq.tasks import FairseqTask
from torch import Tensor, nn
from torch.nn import functional

from fairseq_dlf.core.support.checks import require_at_least
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.translation.bleu.decoding import USUAL_LIMIT, LengthLimit, WordJoiner, build_generator, evaluating
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
        batch: net_input of a forward pass over all candidates within `encoding_once`: each source
            once, the candidates' previous tokens (rows, length).
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

    Cost: one decoding with a beam of `proposals.number`, and 0.1 ms of BLEU per candidate.
    """
    with evaluating(model), torch.no_grad():
        torch.manual_seed(seed)
        sampling = proposals.method == "sample"
        lengths = {
            "min_len": proposals.shortest,
            "max_len_a": proposals.limit.factor,
            "max_len_b": proposals.limit.offset,
        }
        generator = build_generator(task, model, beam=proposals.number, sampling=sampling, **lengths)
        translations = generator.generate([model], batch)
    words = WordJoiner(task.target_dictionary)
    rows = []
    for index, (hypotheses, target) in enumerate(zip(translations, batch["target"], strict=True)):
        found = [hypothesis["tokens"] for hypothesis in hypotheses]
        reference = target[target != task.target_dictionary.pad()]
        if proposals.with_reference:
            found.append(reference)
        if proposals.distinct:
            found = list({tuple(tokens.tolist()): tokens for tokens in found}.values())
        reference_words = words.reference(reference).split()
        for slot, tokens in enumerate(found):
            bleu = sentence_bleu(words.hypothesis(tokens).split(), reference_words)
            rows.append((index, slot, tokens, bleu))
    return collate(rows, batch, task, proposals.slots)


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


# Scoring ----------------------------------------------------------------------


@contextmanager
def encoding_once(model: nn.Module, owners: Tensor) -> Iterator[None]:
    """Have the model's forwards decode several targets of each source, whose encoding they share.

    A hook on the encoder repeats its output, so that the model is still called as a whole: wrappers
    for several workers, and calls with other parameters, see an ordinary forward pass. Dropout in the
    encoder is the same for all targets of a source.

    Args:
        model: an encoder-decoder model of fairseq, unwrapped.
        owners: the source of each row of `prev_output_tokens`, (rows,), int64.
    """
    encoder: Any = model.encoder

    def repeat(module: nn.Module, inputs: Any, output: Any) -> Any:
        return encoder.reorder_encoder_out(output, owners)

    handle = encoder.register_forward_hook(repeat)
    try:
        yield
    finally:
        handle.remove()


def candidate_logits(forward: Callable[..., Any], model: nn.Module, candidates: Candidates) -> Tensor:
    """Return the logits of all candidates, (rows, length, types), with a graph to what `forward` uses.

    Args:
        forward: the model, wrapped or with other parameters.
        model: the unwrapped model.

    Cost: one encoding of each source, one decoding of each candidate.
    """
    with encoding_once(model, candidates.owners[0]):
        return forward(**candidates.batch)[0]


def token_log_probs(logits: Tensor, targets: Tensor, padding: int) -> Tensor:
    """Return log p of each token, (rows, length), in float32 or better; 0 where the target is padding.

    Args:
        logits: (rows, length, types).
        targets: (rows, length), int64.
    """
    precision = torch.promote_types(logits.dtype, torch.float32)
    nll = functional.cross_entropy(
        logits.to(precision).flatten(0, 1), targets.flatten(), ignore_index=padding, reduction="none"
    )
    return -nll.view_as(targets)
