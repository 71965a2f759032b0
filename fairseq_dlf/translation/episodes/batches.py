"""The student's batches in an episode, made in fairseq's way, and this worker's part of each."""

from typing import Any, NamedTuple, Optional

import numpy as np
from fairseq.data import FairseqDataset, data_utils

from fairseq_dlf.core.support.signature import Part
from fairseq_dlf.core.support.workers import Workers


class BatchLimits(NamedTuple):
    """How large a batch of the student may be; None is no limit.

    Attributes:
        sentences: `--batch-size`.
        tokens: `--max-tokens`, of the longer side and with padding.
    """

    sentences: Optional[int]
    tokens: Optional[int]

    @property
    def signature(self) -> Part:
        return {"batch_size": self.sentences, "max_tokens": self.tokens}


class StudentBatches:
    """All batches of a training set, the same for every episode.

    Args:
        pairs: the training set.
        limits: how large a batch may be.
        max_positions: the model's limits of a sentence; longer pairs are left out.
        workers: the processes that train together.
        seed: orders sentences of one length.
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
        """This worker's part of a batch, with the tokens of the whole."""
        indices = self._batches[number]
        own = self._workers.part(indices)
        # A worker without a sentence takes one with no weight.
        batch: dict[str, Any] = self._pairs.collater([self._pairs[index] for index in own or indices[:1]])
        if self._workers.shared:
            tokens = sum(int(self._pairs.tgt_sizes[index]) for index in indices)
            batch["ntokens"] = tokens if own else float("inf")
        return batch

    def order(self, steps: int, seed: int) -> list[int]:
        """Batch numbers of an episode: passes over all batches, each in a new order, (steps,)."""
        draw = np.random.RandomState(seed)
        passes = [draw.permutation(len(self)) for _ in range(-(-steps // len(self)))]
        return [int(number) for number in np.concatenate(passes)[:steps]]
