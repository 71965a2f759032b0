"""Minimum risk of given candidates against its formula, and its options."""

import math
from types import SimpleNamespace

import pytest
import torch

from fairseq_dlf.translation.bleu.candidates import Proposals
from fairseq_dlf.translation.students.losses.scored import score_candidates
from tests.translation.conftest import TinyTask
from tests.translation.students.losses.made_sequences import (
    assert_same_loss_and_gradient,
    criterion_of,
    example_of,
    log_probs_alone,
)

NAME = "dlf_sequence_risk"


def risks(built, example, by_mean, sharpness):
    """The formula, with each candidate scored alone."""
    found = []
    for row, mine in enumerate(example.each):
        scores = []
        for tokens, _ in mine:
            log_probs = log_probs_alone(built, example.batch, row, tokens)
            scores.append(log_probs.mean() if by_mean else log_probs.sum())
        weights = [(sharpness * score).exp() for score in scores]
        costs = [1 - bleu for _, bleu in mine]
        found.append(sum(w * c for w, c in zip(weights, costs, strict=True)) / sum(weights))
    return torch.stack(found)


@pytest.mark.parametrize(
    ("options", "by_mean", "sharpness"),
    [
        ({}, True, 1.0),
        ({"risk_score": "sum"}, False, 0.005),
        ({"risk_score": "sum", "risk_sharpness": 0.7}, False, 0.7),
        ({"risk_score": "mean", "risk_sharpness": 2.0}, True, 2.0),
    ],
)
@pytest.mark.parametrize("arch", ["lstm", "transformer"])
def test_loss_and_gradient_of_given_candidates(tiny, monkeypatch, arch, options, by_mean, sharpness):
    """With an empty candidate and a one-token target; each is scored alone, so that padding has no part."""
    monkeypatch.setattr("fairseq.utils.softmax", lambda x, dim, onnx_trace=False: torch.softmax(x, dim))
    built = tiny(arch, dropout=0.0)
    example, criterion = example_of(built), criterion_of(NAME, built, **options)
    scored = score_candidates(built.model, example.batch, example.candidates, built.task.target_dictionary)
    found = criterion.sentence_losses(scored)
    assert_same_loss_and_gradient(found, risks(built, example, by_mean, sharpness), built.model)
    assert found[2].item() == pytest.approx(0.5)  # a single candidate


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, Proposals(5, "sample", shortest=0)),
        (
            {"sequence_method": "beam", "sequence_reference": True, "sequence_candidates": 1},
            Proposals(1, "beam", with_reference=True, shortest=0),
        ),
    ],
)
def test_candidates_are_distinct(options, wanted):
    built = SimpleNamespace(task=TinyTask(), model=torch.nn.Identity())
    assert criterion_of(NAME, built, **options).proposals == wanted
    assert wanted.distinct


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"risk_score": "median"}, "no score 'median'; choose from mean, sum .*--risk-score"),
        ({"risk_sharpness": 0.0}, "risk_sharpness is 0.0, but must be positive .*--risk-sharpness"),
        ({"risk_sharpness": -1.0}, "must be positive"),
        ({"risk_sharpness": math.nan}, "must be positive"),
        ({"sequence_candidates": 1}, "candidates is 1, but must be at least 2 .*--sequence-candidates"),
        ({"sequence_candidates": 0, "sequence_reference": True}, "candidates is 0, but must be at least 1"),
        ({"sequence_method": "guess"}, "'guess'.* 'sample' or 'beam' .*--sequence-method"),
    ],
)
def test_options_are_checked(options, words):
    with pytest.raises(ValueError, match=words):
        criterion_of(NAME, SimpleNamespace(task=TinyTask(), model=torch.nn.Identity()), **options)
