"""Greedy BLEU by batches against that of the whole."""

import pytest
import torch

from fairseq_dlf.core.hypergradient.student import Student
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.translation.bleu import decoding
from fairseq_dlf.translation.bleu.decoding import greedy_bleu, select_rows
from fairseq_dlf.translation.bleu.expected import ExpectedBleuSettings
from fairseq_dlf.translation.measures import DevSample, GreedyBleu
from fairseq_dlf.translation.measures import greedy_bleu as greedy_module


class Decoder:
    """Gives the reference of each source but for its first word, where the source is long."""

    def __init__(self, pairs):
        self.known = {tuple(pair["source"].tolist()): pair["target"] for pair in pairs}

    def generate(self, models, batch):
        found = []
        lengths = batch["net_input"]["src_lengths"].tolist()
        for row, length in zip(batch["net_input"]["src_tokens"].tolist(), lengths, strict=True):
            target = self.known[tuple(row[-length:])].clone()
            target[0] = target[0] if length < 5 else 4
            found.append([{"tokens": target}])
        return found


@pytest.fixture
def made(tiny, monkeypatch):
    built = tiny("lstm")
    built.pairs = built.task.pairs(12, seed=2, longest=9)
    chosen = [i for i in range(12) if len(built.pairs[i]["target"]) > 4]
    batch = built.pairs.collater([built.pairs[i] for i in chosen])
    rows = torch.arange(len(chosen))
    parts = [select_rows(batch, rows[::2], True), select_rows(batch, rows[1::2], True)]
    for module in (decoding, greedy_module):
        monkeypatch.setattr(module, "build_generator", lambda *given, **named: Decoder(built.pairs))
    built.wanted = greedy_bleu(built.task, built.model, built.pairs, chosen).score / 100
    built.measure = GreedyBleu(DevSample(built.task, Student(built.model, None), parts, 1, ExpectedBleuSettings()))
    return built


def test_it_is_the_bleu_of_the_whole_corpus(made):
    found = made.measure.value(made.measure.dev.student.flat_params())
    assert found == pytest.approx(made.wanted) and 0.2 < found < 0.95


def test_workers_add_their_counts(made):
    made.measure.dev.student.combine = lambda counts: 2 * counts
    assert made.measure.value(made.measure.dev.student.flat_params()) == pytest.approx(made.wanted)


def test_it_is_of_the_parameters_that_are_given(made):
    params = made.measure.dev.student.flat_params()
    made.measure.value(params + 1)
    assert torch.equal(made.measure.dev.student.flat_params(), params + 1)


def test_a_worker_without_sentences_counts_nothing(made):
    empty = GreedyBleu(made.measure.dev._replace(batches=[]))
    assert empty.value(made.measure.dev.student.flat_params()) == 0.0


def test_there_is_no_gradient(made):
    with pytest.raises(InputError, match="has no gradient: take another estimator or measure"):
        made.measure.value_and_cotangent(made.measure.dev.student.flat_params())
