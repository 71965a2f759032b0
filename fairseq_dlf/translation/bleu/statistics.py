"""BLEU of a corpus from the statistics of its sentences, so that any choice of sentences is scored at once."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics import BLEU

from fairseq_dlf.translation.bleu.scores import MAX_ORDER

# Per sentence: length of output and reference, n-grams that match, n-grams there are; as sacrebleu has them.
Statistics = NDArray[np.int64]


def sentence_statistics(metric: BLEU, hypotheses: Sequence[str], references: Sequence[str]) -> Statistics:
    """Return the statistics of each sentence: [sentences, 10]."""
    return np.array(metric._extract_corpus_statistics(hypotheses, [references]), dtype=np.int64)


def brevity_penalty(sums: Statistics) -> NDArray[np.float64]:
    """Return exp(1 − reference / output) where the output is shorter, else 1, of summed statistics [..., 10]."""
    length, reference = sums[..., 0].astype(float), sums[..., 1].astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(length < reference, np.exp(1.0 - reference / length), 1.0)


def corpus_bleu(sums: Statistics) -> NDArray[np.float64]:
    """Return the BLEU of summed statistics [..., 10], smoothed as sacrebleu does by default (`exp`)."""
    correct, total = sums[..., 2 : 2 + MAX_ORDER], sums[..., 2 + MAX_ORDER :]
    halved = np.cumsum(correct == 0, axis=-1)
    # Each further order without a match counts as half of what the one before counted.
    counted = np.where(correct == 0, 0.5**halved, correct)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(total > 0, np.log(counted / total), -np.inf)
    bleu = 100.0 * brevity_penalty(sums) * np.exp(logs.mean(axis=-1))
    return np.where((correct.sum(axis=-1) == 0) | (sums[..., 0] == 0), 0.0, bleu)
