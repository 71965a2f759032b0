"""Expected BLEU against the sum over every sentence of a tiny language, and its gradient."""

import itertools
import math

import pytest
import torch

from fairseq_dlf.core.hypergradient.student import Student
from fairseq_dlf.core.teaching.expectations import expected_score
from fairseq_dlf.core.teaching.forms import Diagonal
from fairseq_dlf.core.teaching.loss import DynamicLoss
from fairseq_dlf.translation.bleu import candidates as bleu_candidates
from fairseq_dlf.translation.bleu.candidates import Proposals, collate, find_candidates
from fairseq_dlf.translation.bleu.decoding import WordJoiner, fixed_sample, greedy_bleu, select_rows, subword_symbol
from fairseq_dlf.translation.bleu.expected import (
    ExpectedBleuConfig,
    ExpectedBleuSettings,
    expected_bleu,
    expected_bleu_settings,
)
from fairseq_dlf.translation.bleu.scores import sentence_bleu
from fairseq_dlf.translation.episodes.checkpoints import translation_objective
from fairseq_dlf.translation.regularisers import RegularisedLoss


@pytest.fixture
def made(tiny):
    """A tiny student in evaluation mode and a batch of three sentences."""

    def build(arch="lstm"):
        built = tiny(arch, dropout=0.3)
        pairs = built.task.pairs(8, seed=2)
        built.batch = pairs.collater([pairs[i] for i in range(3)])
        built.pairs = pairs
        built.model.eval()
        return built

    return build


def log_prob(model, batch, row, tokens, eos):
    """log p of one sentence, scored alone, token by token, on the unpadded source."""
    one = select_rows(batch, torch.tensor([row]), left_pad_source=True)["net_input"]
    one["prev_output_tokens"] = torch.tensor([[eos, *tokens[:-1]]])
    log_probs = torch.log_softmax(model(**one)[0][0], dim=-1)
    return sum(log_probs[i, token] for i, token in enumerate(tokens)).item()


@pytest.mark.parametrize(("normalize", "sharpness"), [(True, 1.0), (False, 0.5)])
@pytest.mark.parametrize("arch", ["lstm", "transformer"])
def test_equals_brute_force_over_a_whole_language(made, monkeypatch, arch, normalize, sharpness):
    """C = every sentence of up to three of three words: the sum, written out."""
    # fairseq's cross-attention computes its softmax in float32.
    monkeypatch.setattr("fairseq.utils.softmax", lambda x, dim, onnx_trace=False: torch.softmax(x, dim))
    built = made(arch)
    dictionary, model, batch = built.task.target_dictionary, built.model, built.batch
    words, eos = range(dictionary.nspecial, dictionary.nspecial + 3), dictionary.eos()
    language = [[*w, eos] for length in (1, 2, 3) for w in itertools.product(words, repeat=length)]
    joiner = WordJoiner(dictionary)
    wanted, rows = [], []
    for row, target in enumerate(batch["target"]):
        reference = joiner.reference(target).split()
        bleus = [sentence_bleu(joiner.hypothesis(torch.tensor(s)).split(), reference) for s in language]
        scores = [log_prob(model, batch, row, s, eos) / (len(s) if normalize else 1) for s in language]
        weights = [math.exp(sharpness * score) for score in scores]
        wanted.append(sum(w * b for w, b in zip(weights, bleus, strict=True)) / sum(weights))
        rows += [(row, slot, torch.tensor(s), b) for slot, (s, b) in enumerate(zip(language, bleus, strict=True))]
    settings = ExpectedBleuSettings(2, sharpness=sharpness, normalize=normalize)
    candidates = collate(rows, batch, built.task, slots=len(language))
    with torch.no_grad():
        found = expected_bleu(model, model, candidates, settings, dictionary.pad())
    assert max(wanted) > 0.01
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64), rtol=1e-12, atol=0)


def test_gradient_equals_finite_differences(made):
    built, h = made(), 1e-6
    padding = built.task.target_dictionary.pad()
    student = Student(built.model, translation_objective(RegularisedLoss(DynamicLoss(Diagonal(), padding))))
    settings = ExpectedBleuSettings(4, with_reference=True)
    candidates = find_candidates(built.task, built.model, built.batch, settings.proposals, seed=3)
    params = student.flat_params().requires_grad_()

    def value(params):
        return student.run(
            params, lambda forward: expected_bleu(forward, built.model, candidates, settings, padding).sum()
        )

    (gradient,) = torch.autograd.grad(value(params), params)
    for _ in range(3):
        direction = torch.randn_like(params)
        with torch.no_grad():
            wanted = (value(params + h * direction) - value(params - h * direction)).item() / (2 * h)
        assert (gradient * direction).sum().item() == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("method", ["sample", "beam"])
def test_candidates_are_distinct_seeded_and_leave_the_model_as_it_was(made, method):
    built = made()
    built.model.train()
    settings = ExpectedBleuSettings(6, method, with_reference=True)
    torch.manual_seed(5)
    wanted = torch.rand(2)
    torch.manual_seed(5)
    first = find_candidates(built.task, built.model, built.batch, settings.proposals, seed=1)
    assert torch.equal(torch.rand(2), wanted)
    again = find_candidates(built.task, built.model, built.batch, settings.proposals, seed=1)
    assert torch.equal(first.targets, again.targets)
    assert built.model.training
    for row in range(3):
        mine = [tuple(t.tolist()) for t in first.targets[first.owners[0] == row]]
        assert len(mine) == len(set(mine)) >= 2
        assert first.bleu[row].max() == 1.0  # the reference is among them


def test_absent_candidates_count_nothing():
    log_probs = torch.tensor([[0.3, -1.0, 99.0]], dtype=torch.float64)
    scores = torch.tensor([[0.5, 1.0, 7.0]], dtype=torch.float64)
    present = torch.tensor([[True, True, False]])
    found = expected_score(log_probs, scores, present, sharpness=2.0)
    weights = [math.exp(0.6), math.exp(-2.0)]
    assert found.item() == pytest.approx((weights[0] * 0.5 + weights[1]) / sum(weights))


def test_greedy_bleu_of_a_perfect_student_is_100(made, monkeypatch):
    built = made()
    references = {tuple(p["source"].tolist()): p["target"] for p in built.pairs}

    class Perfect:
        def generate(self, models, batch):
            lengths = batch["net_input"]["src_lengths"].tolist()
            sources = zip(batch["net_input"]["src_tokens"].tolist(), lengths, strict=True)
            return [[{"tokens": references[tuple(row[-length:])]}] for row, length in sources]

    monkeypatch.setattr("fairseq_dlf.translation.bleu.decoding.build_generator", lambda *a, **k: Perfect())
    indices = [i for i in range(8) if len(built.pairs[i]["target"]) > 4]
    assert greedy_bleu(built.task, built.model, built.pairs, indices).score == pytest.approx(100)


def test_greedy_bleu_does_not_depend_on_the_order_of_the_sample(made):
    built = made()
    forward = greedy_bleu(built.task, built.model, built.pairs, [0, 1, 2, 3, 4])
    backward = greedy_bleu(built.task, built.model, built.pairs, [4, 3, 2, 1, 0])
    assert forward == backward


@pytest.mark.parametrize(("words", "symbol"), [(["ha@@", "us"], "@@ "), (["▁haus"], "sentencepiece"), (["haus"], None)])
def test_subwords_are_recognised(words, symbol, tiny):
    dictionary = tiny("lstm").task.target_dictionary
    for word in words:
        dictionary.add_symbol(word)
    assert subword_symbol(dictionary) == symbol


def test_fixed_sample_is_seeded_sorted_and_checked(made):
    pairs = made().pairs
    sample = fixed_sample(pairs, 5, seed=3)
    assert sample == fixed_sample(pairs, 5, seed=3) != fixed_sample(pairs, 5, seed=4)
    assert sorted(set(sample)) == sample
    assert len(fixed_sample(pairs, 0, seed=3)) == len(pairs)
    with pytest.raises(ValueError, match="9 sentences were asked for, the data set has 8"):
        fixed_sample(pairs, 9, seed=3)
    with pytest.raises(ValueError, match="data set is empty"):
        fixed_sample([], 1, seed=3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"candidates": 1}, "candidates is 1, but must be at least 2"),
        ({"method": "guess"}, "'guess'.*'sample' or 'beam'"),
        ({"sharpness": 0.0}, "must be positive"),
    ],
)
def test_settings_are_checked(arguments, words):
    with pytest.raises(ValueError, match=words):
        ExpectedBleuSettings(**arguments)


def test_the_signature_holds_what_changes_the_measure():
    signature = ExpectedBleuSettings(12, "beam", 0.005, normalize=False, with_reference=True).signature
    assert signature == {
        "candidates": 12,
        "method": "beam",
        "sharpness": 0.005,
        "normalize": False,
        "with_reference": True,
    }


def test_candidates_that_come_twice_count_once(made, monkeypatch):
    built = made()
    eos = built.task.target_dictionary.eos()
    samples = [[torch.tensor([word, eos]) for word in (5, 6, 5, 5)] for _ in range(3)]
    monkeypatch.setattr(bleu_candidates, "sample_translations", lambda *a: samples)
    found = find_candidates(built.task, built.model, built.batch, Proposals(4), seed=1)
    assert found.present.sum(dim=1).tolist() == [2, 2, 2]
    assert found.targets.tolist() == [[5, eos], [6, eos]] * 3


def test_candidates_are_those_of_their_seed(made):
    built = made()
    settings = ExpectedBleuSettings(6)
    first, second = (find_candidates(built.task, built.model, built.batch, settings.proposals, seed) for seed in (1, 2))
    assert first.targets.shape != second.targets.shape or not torch.equal(first.targets, second.targets)


def test_options_are_the_measure_s():
    cfg = ExpectedBleuConfig(
        candidates=5, candidate_method="beam", candidate_sharpness=2.0, candidate_sum=True, candidate_reference=True
    )
    assert expected_bleu_settings(cfg) == ExpectedBleuSettings(5, "beam", 2.0, normalize=False, with_reference=True)
    assert expected_bleu_settings(ExpectedBleuConfig()) == ExpectedBleuSettings()
