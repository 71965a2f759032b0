"""Smoothed BLEU of a sentence, and sacrebleu's BLEU of a corpus."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import sacrebleu

MAX_ORDER = 4


class CorpusBleu(NamedTuple):
    """Corpus BLEU in points (0 to 100) with sacrebleu's signature."""

    score: float
    signature: str


def sentence_bleu(hypothesis: Sequence[str], reference: Sequence[str]) -> float:
    """Return sentence BLEU-4 with add-one smoothing of orders 2 to 4, in [0, 1].

    This is the smoothing of Lin and Och (2004), which minimum-risk training uses; it is equal
    to fairseq's `--sentence-bleu`. An empty hypothesis scores 0.

    Cost: about 0.1 ms for 20 words.
    """
    if not hypothesis or not reference:
        return 0.0
    log_precision = 0.0
    for order in range(1, MAX_ORDER + 1):
        smoothing = 0 if order == 1 else 1
        candidate = _ngrams(hypothesis, order)
        matches = sum((candidate & _ngrams(reference, order)).values()) + smoothing
        if matches == 0:
            return 0.0
        total = max(len(hypothesis) - order + 1, 0) + smoothing
        log_precision += math.log(matches / total) / MAX_ORDER
    brevity = min(0.0, 1.0 - len(reference) / len(hypothesis))
    return math.exp(log_precision + brevity)


def corpus_bleu(hypotheses: Sequence[str], references: Sequence[str]) -> CorpusBleu:
    """Return BLEU of tokenised text with one reference each, without further tokenisation.

    Raises:
        ValueError: the numbers of lines differ, or there are no lines.
    """
    if len(hypotheses) != len(references) or not references:
        raise ValueError(
            f"{len(hypotheses)} hypotheses against {len(references)} references: wanted equally many, and some"
        )
    # force=True silences sacrebleu's warning that the text is tokenised already.
    metric = sacrebleu.BLEU(tokenize="none", force=True)
    score = metric.corpus_score(list(hypotheses), [list(references)]).score
    return CorpusBleu(score, str(metric.get_signature()))


def _ngrams(words: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(words[start:] for start in range(order)), strict=False))
