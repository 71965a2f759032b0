"""Made-up sentence pairs without files: tiny ones for tests, and ones of Multi30k's shape."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from fairseq.data import Dictionary, LanguagePairDataset
from fairseq.tasks import FairseqTask
from torch import Tensor

# Words of a Multi30k sentence: mean, standard deviation, shortest and longest; the two
# sides of a pair differ by a word or two.
WORDS_MEAN, WORDS_SD, SHORTEST, LONGEST = 13.5, 4.0, 4, 30
SIDES_DIFFER_SD = 1.5


class Shape(NamedTuple):
    """Sizes of a corpus and of its batches."""

    source_types: int
    target_types: int
    sentences: int


MULTI30K = Shape(source_types=3200, target_types=2504, sentences=32)
SMALL = Shape(source_types=24, target_types=16, sentences=3)


def made_dictionary(types: int) -> Dictionary:
    """Make a dictionary of so many types, fairseq's own symbols included: w0, w1, …"""
    dictionary = Dictionary()
    for number in range(types - dictionary.nspecial):
        dictionary.add_symbol(f"w{number}")
    return dictionary


class SentenceTask(FairseqTask):
    """Just enough of a fairseq task to build models and generators on made-up sentences."""

    def __init__(self, source: Dictionary, target: Dictionary):
        super().__init__(None)
        self._source = source
        self._target = target

    @property
    def source_dictionary(self) -> Dictionary:
        return self._source

    @property
    def target_dictionary(self) -> Dictionary:
        return self._target

    def paired(self, source: Sequence[Tensor], target: Sequence[Tensor], shuffle: bool = True) -> LanguagePairDataset:
        """Return sentences, each with its end, as fairseq's data set of pairs."""
        return LanguagePairDataset(
            source, _lengths(source), self._source, target, _lengths(target), self._target, shuffle=shuffle
        )


class ShapedTask(SentenceTask):
    """A task whose random sentences have a corpus's numbers of types and words."""

    def __init__(self, shape: Shape):
        super().__init__(made_dictionary(shape.source_types), made_dictionary(shape.target_types))
        self.shape = shape

    def batches(self, number: int, seed: int, sentences: int = 0) -> list[dict[str, Any]]:
        """Return batches of sentences of similar length, as fairseq makes them, in random order.

        Args:
            sentences: in a batch; 0 is the shape's.
        """
        draw, size = np.random.RandomState(seed), sentences or self.shape.sentences
        total = number * size
        words = draw.normal(WORDS_MEAN, WORDS_SD, total)
        source = _sentences(draw, words, self.source_dictionary)
        target = _sentences(draw, words + draw.normal(0, SIDES_DIFFER_SD, total), self.target_dictionary)
        pairs = self.paired(source, target, shuffle=False)
        by_length = np.lexsort((pairs.src_sizes, pairs.tgt_sizes))
        groups = by_length.reshape(number, size)[draw.permutation(number)]
        return [pairs.collater([pairs[index] for index in group]) for group in groups]


def _sentences(draw: np.random.RandomState, words: np.ndarray, dictionary: Dictionary) -> list[Tensor]:
    """Draw sentences of about so many words each by Zipf's law, each with an end symbol."""
    first, last = dictionary.nspecial, len(dictionary)
    frequency = 1.0 / np.arange(1, last - first + 1)
    lengths = np.clip(words.round(), SHORTEST, LONGEST).astype(int)
    return [
        torch.tensor([*draw.choice(np.arange(first, last), size=n, p=frequency / frequency.sum()), dictionary.eos()])
        for n in lengths
    ]


def _lengths(sentences: Sequence[Tensor]) -> np.ndarray:
    return np.array([len(sentence) for sentence in sentences])
