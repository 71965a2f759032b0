"""Teachers as fairseq models, from options."""

from types import SimpleNamespace

import pytest
import torch

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.teaching.teachers import AttentionTeacher, StaticTeacher
from fairseq_dlf.translation.teachers.model import DlfTeacherConfig, DlfTeacherModel
from tests.translation.conftest import TinyTask


def model_of(form="diagonal", regularisers="", estimator="reverse", **options) -> DlfTeacherModel:
    task = TinyTask()
    task.cfg = SimpleNamespace(form=form, regularisers=regularisers, estimator=estimator)
    return DlfTeacherModel.build_model(DlfTeacherConfig(**options), task)


@pytest.mark.parametrize(
    ("options", "keys"), [({}, 5), ({"teacher_keys": 3}, 3), ({"teacher_kind": "attention(key_scale=2)"}, 5)]
)
def test_attention_is_the_default(options, keys):
    model = model_of(**options)
    assert isinstance(model.teacher, AttentionTeacher) and model.teacher.keys.shape == (keys, 3)
    assert torch.allclose(model(torch.rand(4, 3)), torch.ones(4, 12))
    assert model.signature["teacher"] == "attention" and model.signature["keys"] == keys


def test_the_scale_of_the_keys_is_chosen_and_signed():
    torch.manual_seed(5)
    small = model_of(teacher_keys=4)
    torch.manual_seed(5)
    large = model_of(teacher_keys=4, teacher_key_scale=3.0)
    torch.testing.assert_close(large.teacher.keys, 30 * small.teacher.keys)
    torch.testing.assert_close(large(torch.rand(4, 3)), torch.ones(4, 12))
    assert large.signature == {"teacher": "attention", "keys": 4, "key_scale": 3.0}
    assert small.signature == {"teacher": "attention", "keys": 4}


@pytest.mark.parametrize(("form", "size"), [("diagonal", 12), ("matrix", 144)])
def test_the_form_says_how_many_coefficients_there_are(form, size):
    model = model_of(form, teacher_kind="static")
    assert isinstance(model.teacher, StaticTeacher) and model.signature == {"teacher": "static"}
    phi = model(torch.rand(2, 3))
    assert phi.shape == (2, size) and phi.sum() == 2 * 12


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"teacher_kind": "static", "teacher_keys": 5}, "static has no keys: leave .* \\(--teacher-keys\\)"),
        ({"teacher_kind": "static", "teacher_key_scale": 3.0}, "static has no keys: .* \\(--teacher-key-scale\\)"),
        ({"teacher_key_scale": 0.0}, "scale is 0.0, but must be positive .* \\(--teacher-key-scale\\)"),
        ({"teacher_key_scale": float("nan")}, "scale is nan, but must be positive"),
        (
            {"teacher_kind": "attention(key_scale=2)", "teacher_key_scale": 3.0},
            "key_scale is 3 here, and 2 in attention.key_scale=2.: give it once",
        ),
        ({"teacher_kind": "attention(keys=2)", "teacher_keys": 3}, "keys is 3 here, and 2 in .* \\(--teacher-keys\\)"),
        ({"teacher_keys": 0}, "keys is 0, but must be at least 1 \\(--teacher-keys\\)"),
        ({"teacher_kind": "strict"}, "no teacher named 'strict': .* \\(--teacher-kind\\)"),
        ({"form": "round"}, "no form named 'round': .* \\(--form\\)"),
        (
            {"form": "shares(start=0.5)", "phi_start": 3.0},
            "neutral .* outside of their bounds, 0 to 1: .* another start",
        ),
        ({"form": "loss_network", "phi_start": 0.5}, "loss_network starts at random, .* leave the factor at 1"),
        ({"teacher_kind": "lstm"}, "a teacher lstm moves Φ .* two_unrolls \\(--estimator\\)"),
        ({"estimator": "two_unrolls"}, "such as lstm, and a teacher attention is none.* \\(--teacher-kind\\)"),
        ({"regularisers": "r_dorp"}, "no regulariser named 'r_dorp': .* \\(--regularisers\\)"),
        ({"regularisers": "r_drop(start=-1)"}, "start=-1, but a weight must not be negative \\(--regularisers\\)"),
    ],
)
def test_wrong_options_are_named(options, words):
    with pytest.raises(InputError, match=words):
        model_of(**options)


# Weights of regularisers ----------------------------------------------------------


@pytest.mark.parametrize("kind", ["attention", "static", "schedule(knots=2)"])
def test_weights_start_exactly_as_told_whatever_phi_does(kind):
    given = {"form": "bins(number=2)", "regularisers": "r_drop(start=0.3),label_smoothing", "teacher_kind": kind}
    model = model_of(**given, phi_start=0.5)
    assert model.signature["phi_start"] == 0.5
    found = model(torch.rand(4, 3))
    torch.testing.assert_close(found, torch.tensor([0.5, 0.5, 0.0, 0.0, 0.3, 0.0]).expand(4, 6))
    if kind != "attention":  # a mean of equal numbers, up to rounding
        assert (found[:, 4] == torch.tensor(0.3)).all() and (found[:, 5] == 0.0).all()


@pytest.mark.parametrize("kind", ["attention", "static", "schedule(knots=2)"])
def test_weights_are_kept_from_being_negative_and_phi_is_left_alone(kind):
    model = model_of("bins(number=2)", "r_drop(start=0.3),label_smoothing", teacher_kind=kind)
    progress = torch.rand(99, 3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(3 * torch.sin(3 * torch.arange(parameter.numel()) + 1.0).view_as(parameter))
        before = model(progress).clone()
        model.keep_bounds()
        after = model(progress)
    assert torch.equal(after[:, :4], before[:, :4]) and before[:, :4].min() < 0
    assert before[:, 4:].min() < 0 and after[:, 4:].min() >= 0
    assert after[:, 4:].max() > 0


def test_a_form_keeps_its_own_bounds():
    model = model_of("shares(number=2)", "r_drop", teacher_kind="schedule(knots=2)")
    with torch.no_grad():
        model.teacher.knots.copy_(torch.tensor([[-1.0, 0.5], [0.7, 2.0], [-3.0, 4.0]]))
    model.keep_bounds()
    torch.testing.assert_close(model.teacher.knots.detach(), torch.tensor([[0.0, 0.5], [0.7, 1.0], [0.0, 4.0]]))


def test_without_bounds_nothing_is_kept():
    model = model_of("bins(number=2)")
    with torch.no_grad():
        model.teacher.values -= 3
    wanted = model.teacher.values.clone()
    model.keep_bounds()
    assert model.bounds is None and torch.equal(model.teacher.values, wanted)


def test_tasks_of_students_are_refused():
    with pytest.raises(InputError, match="the task is a TinyTask: pass --task dlf_teaching"):
        DlfTeacherModel.build_model(DlfTeacherConfig(), TinyTask())
