"""BLEU from statistics of sentences, beside sacrebleu's."""

import numpy as np
import pytest
from sacrebleu.metrics import BLEU

from fairseq_dlf.translation.bleu.statistics import brevity_penalty, corpus_bleu, sentence_statistics

REFERENCES = ["the dog runs in the park", "a red house", "two men sit on a small bench by the street"]
OUTPUTS = {
    "short": ["the dog runs", "a house", "two men sit on a bench"],
    "as long": ["the dog sits in the park", "a red street", "two men sit on a small bench by the house"],
    "long": ["the dog runs in the park in the park", "a red red house", "two men sit on a small bench by the street"],
    "foreign": ["der hund", "ein haus", "zwei"],
    "empty": ["", "", ""],
}


@pytest.mark.parametrize("outputs", OUTPUTS.values(), ids=OUTPUTS)
def test_bleu_and_brevity_are_those_of_sacrebleu(outputs):
    metric = BLEU(lowercase=True)
    sums = sentence_statistics(metric, outputs, REFERENCES).sum(0)
    wanted = metric.corpus_score(outputs, [REFERENCES])
    assert corpus_bleu(sums) == pytest.approx(wanted.score, abs=1e-9)
    assert brevity_penalty(sums) == pytest.approx(wanted.bp, abs=1e-12)
    assert sums[0] / sums[1] == pytest.approx(wanted.ratio)


def test_many_sums_are_scored_at_once():
    sums = np.stack([sentence_statistics(BLEU(), outputs, REFERENCES).sum(0) for outputs in OUTPUTS.values()])
    assert corpus_bleu(sums).tolist() == [corpus_bleu(each) for each in sums]
    assert len(set(corpus_bleu(sums).round(6))) > 3
