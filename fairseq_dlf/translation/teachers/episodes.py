"""The data set that fairseq iterates over in teaching: episodes in place of sentence pairs."""

from typing import Any, List

import numpy as np
import torch
from fairseq.data import FairseqDataset


class EpisodeDataset(FairseqDataset):
    """A data set whose items are the numbers of episodes.

    Args:
        pairs: the sentence pairs that episodes use.
        episodes: number of episodes.
    """

    def __init__(self, pairs: FairseqDataset, episodes: int):
        self.pairs = pairs
        self.episodes = episodes

    def __getitem__(self, index: int) -> int:
        return index

    def __len__(self) -> int:
        return self.episodes

    def collater(self, samples: List[int]) -> dict[str, Any]:
        return {"id": torch.tensor(samples), "nsentences": len(samples)} if samples else {}

    def num_tokens(self, index: int) -> int:
        return 1

    def size(self, index: int) -> int:
        return 1

    def ordered_indices(self) -> np.ndarray:
        return np.arange(self.episodes)
