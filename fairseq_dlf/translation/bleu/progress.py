"""The BLEU features of s_t in translation."""

from typing import NamedTuple

from fairseq.data import FairseqDataset
from fairseq.models import BaseFairseqModel
from fairseq.tasks import FairseqTask

from fairseq_dlf.translation.bleu.decoding import fixed_sample, greedy_bleu

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
    """The BLEU features of s_t: greedy BLEU / 100 of fixed samples of train and dev, by name.

    Cost: two greedy decodings.
    """
    found = {}
    for name, dataset in (("train_bleu", train), ("dev_bleu", dev)):
        found[name] = greedy_bleu(task, model, dataset, fixed_sample(dataset, sentences, seed)).score / 100
    return found
