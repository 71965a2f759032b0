"""The BLEU features of s_t in translation."""

from typing import NamedTuple

import torch
from fairseq.data import FairseqDataset
from fairseq.models import BaseFairseqModel
from fairseq.tasks import FairseqTask
from torch import Tensor

from fairseq_dlf.core.hypergradient.student import Student
from fairseq_dlf.translation.bleu.decoding import fixed_sample, greedy_bleu, module_at

# s_t of translation (paper, section 5.2), in the order of the teacher's columns.
FEATURES = ("updates", "train_bleu", "dev_bleu")


class ProgressValues(NamedTuple):
    """s_t by name, each in [0, 1]: updates / planned updates, and BLEU / 100."""

    updates: float
    train_bleu: float
    dev_bleu: float


def sampled_bleu(
    task: FairseqTask,
    model: BaseFairseqModel,
    train: FairseqDataset,
    dev: FairseqDataset,
    sentences: int,
    seed: int,
) -> dict[str, float]:
    """Return the BLEU features of s_t: greedy BLEU / 100 of fixed samples of train and dev, by name.

    Cost: two greedy decodings.
    """
    values = {}
    for name, dataset in (("train_bleu", train), ("dev_bleu", dev)):
        values[name] = greedy_bleu(task, model, dataset, fixed_sample(dataset, sentences, seed)).score / 100
    return values


class StudentProgress:
    """The BLEU features of s_t for the students of episodes.

    Args:
        task: provides dictionaries and generators.
        train, dev: data sets from which the fixed samples are drawn.
        sentences: size of each sample; 0 takes all sentences.
        seed: of the samples.
    """

    def __init__(self, task: FairseqTask, train: FairseqDataset, dev: FairseqDataset, sentences: int, seed: int):
        self._task = task
        self._train = train
        self._dev = dev
        self._sentences = sentences
        self._seed = seed

    def measure(self, student: Student, params: Tensor) -> Tensor:
        """Return BLEU / 100 of train and dev for a student at ω, (2,), float32.

        Cost: that of `sampled_bleu`.
        """
        model = module_at(student, params)
        values = sampled_bleu(self._task, model, self._train, self._dev, self._sentences, self._seed)
        return torch.tensor([values[name] for name in FEATURES[1:]])
