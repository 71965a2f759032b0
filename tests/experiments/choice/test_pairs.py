"""The figures of pairs on a tiny student in float64."""

from dataclasses import replace

import pytest
import torch

from experiments.choice import pairs
from experiments.choice.pairs import pairs_of
from experiments.choice.records import Seconds
from experiments.choice.sentences import DevParts
from experiments.choice.table import Choice
from fairseq_dlf.core.hypergradient.episode import MeasuredCotangent
from fairseq_dlf.core.support.errors import InputError, StateError
from fairseq_dlf.translation.measures.sharpened_likelihood import SharpenedLikelihood

CHOICE = Choice(dev_sentences=8, moves=(0.1, 0.2))
SHORT = Choice(dev_sentences=4, unseen_sentences=2, moves=(0.2,))
LIKELIHOOD = "sharpened_likelihood(sharpness=2)"
MEASURES = ("sampled_bleu", LIKELIHOOD, "reweighted_bleu")
NONE = Seconds(0.0, 0.0, 0.0)


@pytest.mark.parametrize("direction", ["gradient", "sign"])
@pytest.mark.parametrize("form", ["diagonal", "smoothed(linear=1,start=0.1)", "bins(number=2)"])
def test_derivatives_predict_the_change_of_a_smooth_measure(taught, form, direction):
    choice = replace(CHOICE, direction=direction, moves=(1e-3, 1e-4))
    (found,) = pairs_of(taught(form=form, measure=LIKELIHOOD), choice, [LIKELIHOOD])
    for move in (*found.moves, found.control):
        assert move.expected != 0.0
        assert move.half_measure == pytest.approx(move.expected, rel=1e-5)
        assert move.ahead.measure == pytest.approx(-move.back.measure, rel=0.05)
    assert found.moves[0].predicted == pytest.approx(10 * found.moves[1].predicted)
    assert found.moves[0].predicted > 0 and found.moves[0].predicted != found.moves[0].expected


def test_identical_halves_agree(taught, monkeypatch):
    monkeypatch.setattr(pairs, "dev_parts", lambda sentences, choice: DevParts([1, 4, 5], [1, 4, 5], [2, 3]))
    for found in pairs_of(taught(student_steps=3), SHORT, MEASURES):
        assert found.cosine == pytest.approx(1.0) and found.cosines == pytest.approx((1.0,) * 3)
        assert found.values[0] == found.values[1] and found.leverage[0] == found.leverage[1]
        assert [move.predicted for move in found.moves] == [move.expected for move in found.moves]


def test_halves_that_differ_agree_less(taught):
    (found,) = pairs_of(taught(measure=LIKELIHOOD), CHOICE, [LIKELIHOOD])
    assert -1.0 < found.cosine < 0.999
    assert found.sentences == (4, 4, 4)
    assert min(found.leverage) > 0 and min(found.growth) > 0


def test_a_training_that_measures_share_gives_the_bits_of_separate_ones(taught):
    shared = list(pairs_of(taught(student_steps=3), SHORT, MEASURES))
    for measure, found in zip(MEASURES, shared, strict=True):
        (alone,) = pairs_of(taught(student_steps=3), SHORT, [measure])
        assert replace(found, seconds=NONE) == replace(alone, seconds=NONE)
        assert min(found.seconds.forward, found.seconds.reverse, found.seconds.measure) > 0


def test_a_truncated_run_has_no_cosine_where_nothing_went_back(taught):
    (found,) = pairs_of(taught(measure=LIKELIHOOD, truncate=2), CHOICE, [LIKELIHOOD])
    assert found.cosines[:2] == (None, None) and found.cosines[2] == pytest.approx(found.cosine)


def test_the_control_moves_as_far_as_the_last_move(taught):
    (found,) = pairs_of(taught(measure=LIKELIHOOD), CHOICE, [LIKELIHOOD])
    first, last = found.moves
    assert (last.share, last.norm) == (0.2, pytest.approx(2 * first.norm))
    assert found.control.share == 0.2 and found.control.norm == pytest.approx(last.norm)
    assert abs(found.control.predicted) < last.predicted


def test_a_loss_without_coefficients_is_an_error(taught):
    with pytest.raises(InputError, match="makes no use of Φ"):
        list(pairs_of(taught(ce_share=1.0, measure=LIKELIHOOD), CHOICE, [LIKELIHOOD]))


def test_a_measure_that_does_not_depend_on_the_coefficients_is_an_error(taught, monkeypatch):
    flat = lambda measure, params: MeasuredCotangent(0.0, torch.zeros_like(params))  # noqa: E731
    monkeypatch.setattr(SharpenedLikelihood, "value_and_cotangent", flat)
    with pytest.raises(StateError, match="does not depend on Φ at all"):
        list(pairs_of(taught(measure=LIKELIHOOD), CHOICE, [LIKELIHOOD]))


def test_a_student_that_diverges_with_moved_coefficients_is_an_error(taught):
    with pytest.raises(StateError, match="diverged: take smaller --moves"):
        choice = replace(CHOICE, moves=(1e200,))
        list(pairs_of(taught(form="smoothed(linear=1)", measure=LIKELIHOOD), choice, [LIKELIHOOD]))
