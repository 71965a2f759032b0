"""Teachers as fairseq models, from options."""

from types import SimpleNamespace

import pytest
import torch

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.teaching.teachers import AttentionTeacher, StaticTeacher
from fairseq_dlf.translation.teachers.model import DlfTeacherConfig, DlfTeacherModel
from tests.translation.conftest import TinyTask


def model_of(form="diagonal", **options) -> DlfTeacherModel:
    task = TinyTask()
    task.cfg = SimpleNamespace(form=form)
    return DlfTeacherModel.build_model(DlfTeacherConfig(**options), task)


@pytest.mark.parametrize(
    ("options", "keys"), [({}, 5), ({"teacher_keys": 3}, 3), ({"teacher_kind": "attention(key_scale=2)"}, 5)]
)
def test_attention_is_the_default(options, keys):
    model = model_of(**options)
    assert isinstance(model.teacher, AttentionTeacher) and model.teacher.keys.shape == (keys, 3)
    assert torch.allclose(model(torch.rand(4, 3)), torch.ones(4, 12))
    assert model.signature["teacher"] == "attention" and model.signature["keys"] == keys


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
        ({"teacher_keys": 0}, "keys is 0, but must be at least 1 \\(--teacher-keys\\)"),
        ({"teacher_kind": "strict"}, "no teacher named 'strict': .* \\(--teacher-kind\\)"),
        ({"form": "round"}, "no form named 'round': .* \\(--form\\)"),
    ],
)
def test_wrong_options_are_named(options, words):
    with pytest.raises(InputError, match=words):
        model_of(**options)


def test_tasks_of_students_are_refused():
    with pytest.raises(InputError, match="the task is a TinyTask: pass --task dlf_teaching"):
        DlfTeacherModel.build_model(DlfTeacherConfig(), TinyTask())
