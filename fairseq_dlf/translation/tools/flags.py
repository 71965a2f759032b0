"""Outputs that are hardly translations: they loop, or are far longer than their references.

A handful of them can move the BLEU of a corpus by whole points, since its lengths and n-grams are summed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

# A phrase so often in immediate succession is a loop, if it has so many words in all: 'a a a' is a mere slip.
LOOP_ROUNDS = 3
LOOP_WORDS = 6
LONG_RATIO = 3


@dataclass(frozen=True)
class Flags:
    """The flagged outputs of a file, by the numbers of their sentences, ascending from 0 as fairseq-generate counts.

    Attributes:
        loops: outputs with a loop, where the reference has none or a shorter one.
        long: outputs of more than three times as many words as the reference.
    """

    loops: list[int]
    long: list[int]


def flags_of(outputs: Sequence[str], references: Sequence[str]) -> Flags:
    """Return which outputs loop or are too long.

    Args:
        outputs: tokenised sentences.
        references: tokenised, of the same sentences.
    """
    pairs = [(output.split(), reference.split()) for output, reference in zip(outputs, references, strict=True)]
    return Flags(
        loops=[number for number, pair in enumerate(pairs) if _loops(*pair)],
        long=[number for number, (output, reference) in enumerate(pairs) if len(output) > LONG_RATIO * len(reference)],
    )


def longest_loop(words: Sequence[str]) -> int:
    """Return the number of words in the longest loop, an unfinished last round included; 0 where there is none.

    Cost: words² / 6 comparisons.
    """
    loops = [0]
    for size in range(1, len(words) // LOOP_ROUNDS + 1):
        # Words that are equal to those one phrase later, in a row, are all of the loop but its last round.
        again = (word == later for word, later in zip(words, words[size:], strict=False))
        runs = (sum(1 for _ in run) for same, run in groupby(again) if same)
        loops += [run + size for run in runs if run + size >= max(LOOP_ROUNDS * size, LOOP_WORDS)]
    return max(loops)


def _loops(output: Sequence[str], reference: Sequence[str]) -> bool:
    loop = longest_loop(output)
    return loop > 0 and loop > longest_loop(reference)
