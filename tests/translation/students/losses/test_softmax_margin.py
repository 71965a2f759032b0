"""Softmax-margin of given candidates against its formula and that of Edunov et al.'s code, and its options."""

import math
from types import SimpleNamespace

import pytest
import torch

from fairseq_dlf.translation.bleu.candidates import Proposals
from fairseq_dlf.translation.students.losses.scored import score_candidates
from tests.translation.conftest import TinyTask
from tests.translation.students.losses.made_sequences import (
    assert_same_loss_and_gradient,
    candidates_of,
    criterion_of,
    example_of,
    gradient_of,
    log_probs_alone,
    logits_of_tokens_alone,
    with_references,
)

NAME = "dlf_softmax_margin"
SCORES = {"logit": logits_of_tokens_alone, "log-prob": log_probs_alone}


def scores_alone(built, example, kind):
    return [
        [SCORES[kind](built, example.batch, row, tokens).mean() for tokens, _ in mine]
        for row, mine in enumerate(example.each)
    ]


def margins(example, scores, winners, scale):
    """The formula, with each candidate scored alone."""
    found = []
    for mine, of_mine, winner in zip(example.each, scores, winners, strict=True):
        total = sum((s + scale * (1 - bleu)).exp() for s, (_, bleu) in zip(of_mine, mine, strict=True))
        found.append(total.log() - of_mine[winner])
    return torch.stack(found)


@pytest.mark.parametrize("kind", SCORES)
@pytest.mark.parametrize("target", ["best", "reference"])
@pytest.mark.parametrize("arch", ["lstm", "transformer"])
def test_loss_and_gradient_of_given_candidates(tiny, monkeypatch, arch, target, kind):
    """With an empty candidate and a one-token target; each is scored alone, so that padding has no part."""
    monkeypatch.setattr("fairseq.utils.softmax", lambda x, dim, onnx_trace=False: torch.softmax(x, dim))
    built = tiny(arch, dropout=0.0)
    example = example_of(built)
    if target == "reference":
        example = with_references(built, example)
    criterion = criterion_of(NAME, built, margin_target=target, margin_score=kind, margin_scale=1.7)
    scored = score_candidates(built.model, example.batch, example.candidates, built.task.target_dictionary)
    found = criterion.sentence_losses(scored)
    winners = example.slots if target == "reference" else [2, 1, 0]
    wanted = margins(example, scores_alone(built, example, kind), winners, 1.7)
    assert_same_loss_and_gradient(found, wanted, built.model)


def test_a_single_candidate_costs_its_own_cost_and_teaches_nothing(tiny):
    built = tiny("lstm", dropout=0.0)
    example, criterion = example_of(built), criterion_of(NAME, built, margin_scale=3.0)
    scored = score_candidates(built.model, example.batch, example.candidates, built.task.target_dictionary)
    single = criterion.sentence_losses(scored)[2]
    assert single.item() == pytest.approx(3.0 * 0.5)
    assert gradient_of(single, built.model).norm() < 1e-12


def test_the_published_form_differs_by_the_cost_of_the_best(tiny):
    """−log softmax(s − c · BLEU) at u*: smaller by c · (1 − BLEU(u*)), with the same gradient."""
    built = tiny("lstm", dropout=0.0)
    example, criterion = example_of(built), criterion_of(NAME, built, margin_scale=1.7)
    scored = score_candidates(built.model, example.batch, example.candidates, built.task.target_dictionary)
    found, published = criterion.sentence_losses(scored), []
    best = [max(bleu for _, bleu in mine) for mine in example.each]
    for mine, of_mine, highest in zip(example.each, scores_alone(built, example, "logit"), best, strict=True):
        logits = torch.stack([s - 1.7 * bleu for s, (_, bleu) in zip(of_mine, mine, strict=True)])
        published.append(-torch.log_softmax(logits, 0)[[bleu for _, bleu in mine].index(highest)])
    constant = torch.tensor([1.7 * (1 - highest) for highest in best], dtype=torch.float64)
    assert constant[0] == 0 and (constant[1:] > 0).all()
    assert_same_loss_and_gradient(found, torch.stack(published) + constant, built.model)


def test_of_several_best_candidates_the_first_is_to_win(tiny):
    built = tiny("lstm", dropout=0.0)
    example = example_of(built)
    each = [[([8], 0.1), ([5], 0.6), ([6], 0.6)], [([7], 0.0), ([], 0.0)], [([4], 0.2), ([9], 0.1)]]
    candidates = candidates_of(built, example.batch, each, slots=3)
    scored = score_candidates(built.model, example.batch, candidates, built.task.target_dictionary)
    assert criterion_of(NAME, built)._targets(scored).tolist() == [1, 0, 0]


def test_the_reference_is_among_the_candidates_when_it_is_to_win():
    built = SimpleNamespace(task=TinyTask(), model=torch.nn.Identity())
    found = criterion_of(NAME, built, margin_target="reference", sequence_candidates=1).proposals
    assert found == Proposals(1, "sample", with_reference=True, shortest=0)
    assert not criterion_of(NAME, built).proposals.with_reference


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"margin_target": "worst"}, "margin_target is 'worst', but must be one of best, reference .*--margin-target"),
        ({"margin_score": "prob"}, "margin_score is 'prob', but must be one of logit, log-prob .*--margin-score"),
        ({"margin_scale": -0.5}, "margin_scale is -0.5, but must not be negative .*--margin-scale"),
        ({"margin_scale": math.inf}, "margin_scale is inf"),
        ({"sequence_candidates": 1}, "candidates is 1, but must be at least 2 .*--sequence-candidates"),
        ({"sequence_method": "guess"}, "'guess'.* 'sample' or 'beam'"),
    ],
)
def test_options_are_checked(options, words):
    with pytest.raises(ValueError, match=words):
        criterion_of(NAME, SimpleNamespace(task=TinyTask(), model=torch.nn.Identity()), **options)
