"""Which sentences of dev each part of the choice table may see, and greedy BLEU on those that no measure saw."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from sacrebleu.metrics import BLEU
from torch import Tensor

from experiments.choice.table import Choice
from fairseq_dlf.core.hypergradient.student import Student
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.translation.bleu.decoding import greedy_translations, module_at
from fairseq_dlf.translation.bleu.statistics import Statistics, sentence_statistics
from fairseq_dlf.translation.tools.teaching_task import TeachingTask


class DevParts(NamedTuple):
    """Disjoint parts of dev, by the numbers of their sentences, ascending.

    Attributes:
        first, second: halves of what measures see.
        unseen: by no measure.
    """

    first: list[int]
    second: list[int]
    unseen: list[int]


def dev_parts(sentences: int, choice: Choice) -> DevParts:
    """Divide dev by the seed of the choice table.

    Args:
        sentences: of dev.

    Raises:
        InputError: there are too few.
    """
    half, seen = choice.dev_sentences // 2, choice.dev_sentences
    unseen = choice.unseen_sentences or sentences - seen
    if unseen < 1 or seen + unseen > sentences:
        raise InputError(
            f"dev has {sentences:,} sentences, of which measures are to see {seen:,} and greedy BLEU "
            f"{max(unseen, 1):,} others: ask for fewer",
            setting="dev_sentences",
        )
    order = np.random.RandomState(choice.seed).permutation(sentences)
    cuts = (half, seen, seen + unseen)
    return DevParts(*(sorted(part.tolist()) for part in np.split(order, cuts)[:3]))


@dataclass(frozen=True)
class UnseenBleu:
    """Greedy translations of the unseen sentences, scored as teaching does: with subwords joined, as they are.

    Attributes:
        taught: the task.
        indices: of the sentences.
    """

    taught: TeachingTask
    indices: list[int]

    def statistics(self, student: Student, params: Tensor) -> Statistics:
        """Return the statistics of each sentence for a student at ω, [sentences, 10]."""
        model = module_at(student, params)
        found = greedy_translations(self.taught.task, model, self.taught.lessons.dev, self.indices)
        return sentence_statistics(BLEU(tokenize="none", force=True), *found)
