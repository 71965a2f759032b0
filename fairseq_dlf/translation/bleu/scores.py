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
    matches = [
        sum((_ngrams(hypothesis, order) & _ngrams(reference, order)).values()) for order in range(1, MAX_ORDER + 1)
    ]
    return _smoothed_bleu(matches, len(hypothesis), len(reference))


def prefix_bleus(hypothesis: Sequence[str], reference: Sequence[str]) -> list[float]:
    """Return the sentence BLEU of the first 0, 1, … words of a hypothesis, (words + 1) values.

    Cost: counts are added up from word to word, so that all prefixes cost about two calls of `sentence_bleu`.
    """
    wanted = [_ngrams(reference, order) for order in range(1, MAX_ORDER + 1)]
    found: list[Counter[tuple[str, ...]]] = [Counter() for _ in wanted]
    matches = [0] * MAX_ORDER
    bleus = [0.0]
    for end in range(1, len(hypothesis) + 1):
        for order in range(1, min(end, MAX_ORDER) + 1):
            ngram = tuple(hypothesis[end - order : end])
            found[order - 1][ngram] += 1
            matches[order - 1] += found[order - 1][ngram] <= wanted[order - 1][ngram]
        bleus.append(_smoothed_bleu(matches, end, len(reference)))
    return bleus


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


def _smoothed_bleu(matches: Sequence[int], hypothesis: int, reference: int) -> float:
    """Return sentence BLEU from the matches of each order and the numbers of words."""
    # Without a match of order 1 there is none of any order.
    if not hypothesis or not reference or not matches[0]:
        return 0.0
    log_precision = 0.0
    for order, matched in enumerate(matches, start=1):
        smoothing = 0 if order == 1 else 1
        total = max(hypothesis - order + 1, 0) + smoothing
        log_precision += math.log((matched + smoothing) / total) / MAX_ORDER
    brevity = min(0.0, 1.0 - reference / hypothesis)
    return math.exp(log_precision + brevity)
