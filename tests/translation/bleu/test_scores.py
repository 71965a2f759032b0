"""Sentence BLEU against fairseq's own scorer, corpus BLEU's checks."""

import numpy as np
import pytest
import torch
from fairseq.scoring.bleu import BleuConfig, Scorer

from fairseq_dlf.translation.bleu.scores import corpus_bleu, prefix_bleus, sentence_bleu


def libbleu(hypothesis, reference):
    scorer = Scorer(BleuConfig(pad=0, eos=1, unk=2))
    scorer.reset(one_init=True)
    scorer.add(torch.IntTensor(reference), torch.IntTensor(hypothesis))
    return scorer.score() / 100


def test_equals_fairseqs_sentence_bleu_on_random_pairs():
    draw = np.random.RandomState(4)
    scores = []
    for _ in range(1000):
        # Few types, so that all orders match often.
        hypothesis = draw.randint(3, 7, size=draw.randint(1, 15)).tolist()
        reference = draw.randint(3, 7, size=draw.randint(1, 15)).tolist()
        found = sentence_bleu([str(w) for w in hypothesis], [str(w) for w in reference])
        assert found == pytest.approx(libbleu(hypothesis, reference), rel=1e-9)
        scores.append(found)
    assert np.std(scores) > 0.1


@pytest.mark.parametrize(
    ("hypothesis", "reference", "wanted"),
    [
        ("a b c d e", "a b c d e", 1.0),
        ("", "a b", 0.0),
        ("x y", "a b", 0.0),
        # 1-gram 2/2, 2-gram (1+1)/(1+1), 3- and 4-gram 1/1; brevity exp(1 − 4/2).
        ("a b", "a b c d", np.exp(-1.0)),
    ],
)
def test_known_values(hypothesis, reference, wanted):
    assert sentence_bleu(hypothesis.split(), reference.split()) == pytest.approx(wanted)


def test_bleu_of_prefixes_is_that_of_each_alone():
    draw = np.random.RandomState(6)
    for _ in range(200):
        hypothesis, reference = (list(map(str, draw.randint(3, 7, size=draw.randint(0, 12)))) for _ in range(2))
        found = prefix_bleus(hypothesis, reference)
        assert found == [sentence_bleu(hypothesis[:end], reference) for end in range(len(hypothesis) + 1)]


def test_corpus_bleu_tells_its_signature():
    found = corpus_bleu(["a b c d", "e f g h"], ["a b c d", "e f g x"])
    assert 50 < found.score < 100
    assert "tok:none" in found.signature


@pytest.mark.parametrize("lines", [([], []), (["a"], [])])
def test_corpus_bleu_refuses_lines_that_do_not_pair(lines):
    with pytest.raises(ValueError, match="hypotheses against 0 references"):
        corpus_bleu(*lines)
