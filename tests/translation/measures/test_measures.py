"""What all measures of translation have in common."""

import pytest
import torch

from fairseq_dlf.core.hypergradient.student import Student
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.teaching.forms import Diagonal
from fairseq_dlf.core.teaching.loss import DynamicLoss
from fairseq_dlf.translation.bleu.decoding import select_rows
from fairseq_dlf.translation.bleu.expected import ExpectedBleuSettings
from fairseq_dlf.translation.episodes.checkpoints import translation_objective
from fairseq_dlf.translation.measures import MEASURES, DevSample, measure_signature, reweighted_bleu, sampled_bleu
from fairseq_dlf.translation.regularisers import RegularisedLoss

EVERY = sorted(name for name in MEASURES if MEASURES[name].differentiable)
DECODING = {"reweighted_bleu": reweighted_bleu, "sampled_bleu": sampled_bleu}


@pytest.fixture
def dev(tiny):
    """A student in training mode with dropout, and five sentences in two batches."""
    torch.manual_seed(2)
    built = tiny("lstm", dropout=0.3)
    for parameter in built.model.parameters():
        parameter.data *= 2
    pairs = built.task.pairs(5, seed=2)
    batch = pairs.collater([pairs[i] for i in range(5)])
    loss = RegularisedLoss(DynamicLoss(Diagonal(), built.task.target_dictionary.pad()))
    student = Student(built.model, translation_objective(loss))
    parts = [select_rows(batch, torch.tensor(rows), True) for rows in ([0, 3], [1, 2, 4])]
    return DevSample(built.task, student, parts, seed=8, settings=ExpectedBleuSettings(4))


@pytest.fixture(params=EVERY)
def name(request):
    return request.param


def tokens(batch):
    return int((batch["target"] != 1).sum())


def test_a_measure_is_the_mean_over_all_batches(dev, name):
    params = dev.student.flat_params()
    found = MEASURES.make(name, dev=dev).value_and_cotangent(params)
    counts = [tokens(part) if name == "sharpened_likelihood" else len(part["target"]) for part in dev.batches]
    each = [MEASURES.make(name, dev=dev._replace(batches=[part])).value_and_cotangent(params) for part in dev.batches]
    mean = sum(count * one.value for count, one in zip(counts, each, strict=True)) / sum(counts)
    assert 0 < found.value < 1 and found.value == pytest.approx(mean, rel=1e-12)
    cotangent = sum(count * one.cotangent for count, one in zip(counts, each, strict=True)) / sum(counts)
    torch.testing.assert_close(found.cotangent, cotangent)
    assert found.cotangent.shape == params.shape and found.cotangent.norm() > 1e-6


def test_the_value_is_the_same_with_and_without_the_gradient(dev, name):
    params, measure = dev.student.flat_params(), MEASURES.make(name, dev=dev)
    assert measure.value(params) == pytest.approx(measure.value_and_cotangent(params).value, rel=1e-12)


def test_workers_that_share_a_lesson_add_their_sums_and_numbers(dev, name):
    """A second worker whose part is the same changes nothing."""
    params, measure = dev.student.flat_params(), MEASURES.make(name, dev=dev)
    alone = measure.value_and_cotangent(params)
    dev.student.combine = lambda tensor: 2 * tensor
    both = measure.value_and_cotangent(params)
    assert both.value == pytest.approx(alone.value)
    torch.testing.assert_close(both.cotangent, alone.cotangent)


def test_there_is_no_dropout(dev, name):
    params, values, measure = dev.student.flat_params(), set(), MEASURES.make(name, dev=dev)
    for seed in (1, 2):
        torch.manual_seed(seed)
        values |= {measure.value(params), measure.value_and_cotangent(params).value}
    assert len(values) == 1
    assert dev.student.module.training


def test_the_measure_is_of_the_parameters_that_are_given(dev, name, monkeypatch):
    params, decoded = dev.student.flat_params(), []
    if name in DECODING:
        plain = DECODING[name].find_candidates
        spy = lambda *given: decoded.append(dev.student.flat_params()) or plain(*given)  # noqa: E731
        monkeypatch.setattr(DECODING[name], "find_candidates", spy)
    measure = MEASURES.make(name, dev=dev._replace(batches=dev.batches[:1]))
    found = [measure.value(params), measure.value(params - 0.5), measure.value_and_cotangent(params).value]
    assert found[0] == pytest.approx(found[2]) and found[0] != found[1]
    if name in DECODING:
        assert [torch.equal(seen, params) for seen in decoded] == [True, False, True]


@pytest.mark.parametrize("fixed", ["reweighted_bleu", "sharpened_likelihood"])
def test_the_cotangent_is_the_slope_of_the_value(dev, fixed, monkeypatch):
    """Of the BLEU of given candidates."""
    params, h = dev.student.flat_params(), 1e-6
    if fixed in DECODING:
        plain = DECODING[fixed].find_candidates
        known = {id(part): plain(dev.task, dev.student.module, part, dev.settings.proposals, 3) for part in dev.batches}
        monkeypatch.setattr(DECODING[fixed], "find_candidates", lambda task, model, batch, *more: known[id(batch)])
    measure = MEASURES.make(fixed, dev=dev)
    gradient = measure.value_and_cotangent(params).cotangent
    for _ in range(3):
        direction = torch.randn_like(params)
        wanted = (measure.value(params + h * direction) - measure.value(params - h * direction)) / (2 * h)
        assert abs(wanted) > 1e-8
        assert (gradient * direction).sum().item() == pytest.approx(wanted, rel=1e-5)


def test_signatures_hold_what_a_measure_reads():
    settings = ExpectedBleuSettings(12, "beam", 0.005, normalize=False, with_reference=True)
    assert measure_signature("reweighted_bleu", settings) == {"measure": "reweighted_bleu", **settings.signature}
    assert measure_signature("sampled_bleu", settings) == {"measure": "sampled_bleu", "candidates": 12}
    likelihood = {"measure": "sharpened_likelihood", "sharpness": 3}
    assert measure_signature("sharpened_likelihood(sharpness=3)", settings) == likelihood
    with pytest.raises(InputError, match="there is no measure named 'bleu'"):
        measure_signature("bleu", settings)
