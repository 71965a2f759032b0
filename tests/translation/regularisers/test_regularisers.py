"""Regularisers by name, and each against its formula, token by token, with two derivatives."""

from dataclasses import replace

import pytest
import torch

from fairseq_dlf.core.support.errors import InputError, StateError
from fairseq_dlf.translation.regularisers import REGULARISERS, Predictions

ROWS, TOKENS, TYPES = 2, 3, 5


def predictions(passes, dtype=torch.float64) -> Predictions:
    draw = torch.Generator().manual_seed(passes)
    logits = torch.randn(passes * ROWS, TOKENS, TYPES, dtype=torch.float64, generator=draw).to(dtype)
    past = torch.softmax(torch.randn(ROWS, TOKENS, TYPES, dtype=torch.float64, generator=draw), dim=-1)
    return Predictions(logits, torch.tensor([[4, 0, 1], [2, 1, 1]]), past)


def r_drop(passes, past):
    first, second = passes
    return ((first.exp() - second.exp()) * (first - second)).sum() / 4


def label_smoothing(passes, past):
    return sum(-each.mean() for each in passes) / len(passes)


def self_distillation(passes, past):
    return sum((past * (past.log() - each)).sum() for each in passes) / len(passes)


FORMULAS = {"r_drop": r_drop, "label_smoothing": label_smoothing, "self_distillation": self_distillation}
CASES = [(name, passes) for name in FORMULAS for passes in (1, 2) if (name, passes) != ("r_drop", 1)]


def test_there_is_a_formula_for_each():
    assert set(FORMULAS) == set(REGULARISERS)


@pytest.mark.parametrize(("name", "passes"), CASES)
def test_each_token_has_its_formula(name, passes):
    seen = predictions(passes)
    table = torch.log_softmax(seen.logits, dim=-1).view(ROWS, passes, TOKENS, TYPES)
    wanted = torch.tensor(
        [
            [float(FORMULAS[name](list(table[row, :, token]), seen.past_probs[row, token])) for token in range(TOKENS)]
            for row in range(ROWS)
        ]
    )
    found = REGULARISERS.make(name).of_tokens(seen)
    assert found.shape == (ROWS, TOKENS) and (found > 0).all()
    torch.testing.assert_close(found, wanted.double(), rtol=1e-6, atol=0)


@pytest.mark.parametrize(("name", "passes"), CASES)
def test_each_has_two_derivatives(name, passes):
    seen, regulariser = predictions(passes), REGULARISERS.make(name)

    def of(logits):
        return regulariser.of_tokens(seen._replace(logits=logits))

    logits = seen.logits.requires_grad_()
    assert torch.autograd.gradcheck(of, logits) and torch.autograd.gradgradcheck(of, logits)


@pytest.mark.parametrize(("name", "passes"), CASES)
def test_half_precision_is_computed_in_float32(name, passes):
    seen, regulariser = predictions(passes, torch.bfloat16), REGULARISERS.make(name)
    found = regulariser.of_tokens(seen)
    wanted = regulariser.of_tokens(seen._replace(logits=seen.logits.double()))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-6)


def test_a_past_self_may_rule_types_out():
    seen = predictions(1)
    past = torch.eye(TYPES, dtype=torch.float64)[seen.target]
    found = REGULARISERS.make("self_distillation").of_tokens(seen._replace(past_probs=past))
    nll = -torch.log_softmax(seen.logits, -1).gather(-1, seen.target.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(found, nll)


def test_a_past_self_is_what_the_student_is_at_no_divergence():
    seen = predictions(1)
    found = REGULARISERS.make("self_distillation").of_tokens(seen._replace(past_probs=torch.softmax(seen.logits, -1)))
    assert found.abs().max() < 1e-15


def test_passes_that_agree_leave_r_drop_without_effect():
    regulariser = REGULARISERS.make("r_drop")
    regulariser.require_effect(1e-9)
    with pytest.raises(StateError, match="the regulariser r_drop agree, .*--student-dropout 0.3.*, or leave"):
        regulariser.require_effect(1e-13)


# By name ------------------------------------------------------------------------


def test_a_text_makes_them_in_order_and_they_give_it_back():
    found = REGULARISERS.make_each("r_drop(start=0.3), label_smoothing")
    assert [each.name for each in found] == ["r_drop", "label_smoothing"]
    assert [each.start for each in found] == [0.3, 0.0]
    assert [each.spec for each in found] == ["r_drop(start=0.3)", "label_smoothing"]
    assert replace(found[0], start=1 / 3).spec == f"r_drop(start={1 / 3!r})"
    assert REGULARISERS.make_each("") == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("r-drop", "no regulariser named 'r-drop': wanted one of label_smoothing, r_drop, self_distillation"),
        ("r_drop,r_drop(start=1)", "the regulariser r_drop is named twice"),
        ("r_drop(start=-1)", "the regulariser r_drop has the option start=-1, but a weight must not be negative"),
        ("r_drop(weight=1)", "the regulariser r_drop has no option weight: its options are start=0"),
        ("r_drop,", "the regulariser is '', wanted NAME"),
        ("dropout", "no regulariser named 'dropout'"),
    ],
)
def test_wrong_texts_are_named(text, words):
    with pytest.raises(InputError, match=words) as caught:
        REGULARISERS.make_each(text)
    assert caught.value.setting == "regulariser"
