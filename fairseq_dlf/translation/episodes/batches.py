"""The student's batches in an episode, formed like fairseq's, and this worker's part of each."""

from collections.abc import Callable
from typing import Any, NamedTuple, Optional

import numpy as np
import torch
from fairseq.data import FairseqDataset, data_utils
from torch import Tensor

from fairseq_dlf.core.support.signature import Part
from fairseq_dlf.core.support.workers import Workers
from fairseq_dlf.translation.bleu.decoding import select_rows
from fairseq_dlf.translation.episodes.past import PAST


class BatchLimits(NamedTuple):
    """Limits of the student's batches; None means no limit.

    Attributes:
        sentences: `--batch-size`.
        tokens: `--max-tokens`, of the longer side and with padding.
    """

    sentences: Optional[int]
    tokens: Optional[int]

    @property
    def signature(self) -> Part:
        return {"batch_size": self.sentences, "max_tokens": self.tokens}


def micro_batches(number: int, padding: int, left_pad_source: bool) -> Callable[[dict[str, Any]], list[dict[str, Any]]]:
    """Return a function that cuts a batch into so many parts of about as many sentences, of which none is empty.

    Each keeps the number of tokens of the whole batch, by which the loss is divided.

    Args:
        padding: index of the padding symbol.
    """

    def split(batch: dict[str, Any]) -> list[dict[str, Any]]:
        rows = torch.arange(len(batch["target"]), device=batch["target"].device)
        return [_part_of(batch, part, padding, left_pad_source) for part in rows.tensor_split(number) if len(part)]

    return split


def _part_of(batch: dict[str, Any], rows: Tensor, padding: int, left_pad_source: bool) -> dict[str, Any]:
    part = select_rows(batch, rows, left_pad_source)
    longest = int((part["target"] != padding).sum(dim=1).max())
    previous = part["net_input"]["prev_output_tokens"][:, :longest]
    if PAST in batch:
        part[PAST] = batch[PAST][rows, :longest]
    return {
        **part,
        "net_input": {**part["net_input"], "prev_output_tokens": previous},
        "target": part["target"][:, :longest],
        "ntokens": batch["ntokens"],
    }


class StudentBatches:
    """All batches of a training set, the same for every episode.

    Args:
        pairs: the training set.
        limits: how large a batch may be.
        max_positions: the model's limits on the length of a sentence; longer pairs are left out.
        workers: the processes that train together.
        seed: of the order of sentences of equal length.
    """

    def __init__(self, pairs: FairseqDataset, limits: BatchLimits, max_positions: Any, workers: Workers, seed: int):
        with data_utils.numpy_seed(seed):
            indices = pairs.ordered_indices()
        indices, _ = pairs.filter_indices_by_size(indices, max_positions)
        self._pairs = pairs
        self._workers = workers
        self._batches = list(pairs.batch_by_size(indices, max_tokens=limits.tokens, max_sentences=limits.sentences))

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, number: int) -> dict[str, Any]:
        """Return this worker's part of a batch, with the number of tokens of the whole batch."""
        indices = self._batches[number]
        own = self._workers.part(indices)
        # A worker without a sentence gets one whose weight is 0.
        batch: dict[str, Any] = self._pairs.collater([self._pairs[index] for index in own or indices[:1]])
        if self._workers.shared:
            tokens = sum(int(self._pairs.tgt_sizes[index]) for index in indices)
            batch["ntokens"] = tokens if own else float("inf")
        return batch

    def largest(self) -> list[int]:
        """Return the numbers of the batch with most tokens, padding included, and of the one with the longest pair."""
        # The longest source and the longest target of a batch need not be one pair.
        lengths = [int(np.max([self._pairs.size(index) for index in batch], axis=0).sum()) for batch in self._batches]
        tokens = [len(batch) * length for batch, length in zip(self._batches, lengths, strict=True)]
        return sorted({tokens.index(max(tokens)), lengths.index(max(lengths))})

    def order(self, steps: int, seed: int) -> list[int]:
        """Return the batch numbers of an episode, (steps,): passes over all batches, each in a new order."""
        draw = np.random.RandomState(seed)
        passes = [draw.permutation(len(self)) for _ in range(-(-steps // len(self)))]
        return [int(number) for number in np.concatenate(passes)[:steps]]
