"""Adaptation on images: files and record, resuming, transfer of the policy, teaching with the controller."""

import dataclasses

import pytest
import torch

from fairseq_dlf.core.teaching.estimators import estimate
from fairseq_dlf.core.teaching.loop import saved as state_of_a_run
from fairseq_dlf.core.teaching.loop.journal import LOG_NAME, read_steps
from fairseq_dlf.core.teaching.loop.steps import BEST_NAME, LAST_NAME
from fairseq_dlf.images.records.coefficients import PATH_NAME, read_coefficients
from fairseq_dlf.images.records.training import find_runs
from fairseq_dlf.images.reports.table import table
from fairseq_dlf.images.students.accuracy import accuracy
from fairseq_dlf.images.students.files import read_student
from fairseq_dlf.images.students.lesson import ImageCourse
from fairseq_dlf.images.teachers.files import read_teacher
from fairseq_dlf.images.teachers.school import ImageSchool, teaching_of
from fairseq_dlf.images.teachers.settings import TeachingSettings
from fairseq_dlf.images.training.adaptation import AdaptationSettings, ImageAdaptation
from fairseq_dlf.images.training.settings import TrainingSettings
from fairseq_dlf.images.training.training import Training

ALA = TeachingSettings(
    teacher_lr=0.01,
    teacher="controller(beta=0.05)",
    estimator="reinforce(replay=8,minibatch=4,points=2)",
    validate_every=2,
    collapse_share=0.0,
    seed=3,
)
ONLINE = dataclasses.replace(ALA, teacher="attention(keys=3)", estimator="reverse")


def adaptation_in(folder, data, student, settings=ALA, window=3, children=2):
    return ImageAdaptation(ImageSchool(data, student, settings), AdaptationSettings(window, children), folder)


def test_the_best_student_is_tested_and_its_record_is_that_of_a_table(data, student, tmp_path):
    record = adaptation_in(tmp_path, data(), student()).finish()
    rows = read_steps(tmp_path / LOG_NAME)
    assert [row.step for row in rows] == [0, 1, 2, 3, 4]
    assert record.dev_error == pytest.approx(100 * (1 - max(row.dev_accuracy or 0 for row in rows)))
    course = ImageCourse(data(), student(), None, 1)
    read_student(tmp_path / "best.safetensors").load_into(course.student.module)
    params = course.student.flat_params()
    assert record.test_error == pytest.approx(100 * (1 - accuracy(course.student, params, {}, data().test)))
    assert record.dev_error == pytest.approx(100 * (1 - accuracy(course.student, params, {}, data().dev)))
    assert "|window:3|children:2" in record.signature and "estimator:reinforce" in record.signature
    assert table(find_runs([tmp_path])).rows[0].test_error_mean == record.test_error
    path = read_coefficients(tmp_path / PATH_NAME)
    assert path.epochs.tolist() == pytest.approx([0.5 * window for window in range(len(path.epochs))])
    assert torch.equal(path.matrices, path.matrices.transpose(1, 2)) and len(path.coefficients.unique()) > 2
    assert adaptation_in(tmp_path, data(), student()).finish() == record


@pytest.mark.parametrize("settings", [ALA, ONLINE], ids=["reinforce", "reverse"])
def test_a_killed_run_goes_on_as_the_straight_one(data, student, tmp_path, monkeypatch, settings):
    def run(folder):
        return adaptation_in(folder, data(), student(), settings).finish()

    wanted = run(tmp_path / "straight")

    def killed(folder, signature, state):
        if state["done"] == 3:
            raise KeyboardInterrupt
        return saved(folder, signature, state)

    saved = state_of_a_run.save_state
    monkeypatch.setattr(state_of_a_run, "save_state", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed")
    monkeypatch.undo()
    found = run(tmp_path / "killed")
    assert dataclasses.replace(found, elapsed_s=wanted.elapsed_s) == wanted
    for name in (BEST_NAME, LAST_NAME, "best.safetensors", "last.safetensors"):
        one, other = ((tmp_path / folder / name).read_bytes() for folder in ("straight", "killed"))
        assert one == other, name


def test_one_window_of_the_whole_run_is_one_lesson_of_teaching(data, student, tmp_path):
    """Observed once, as in a window."""
    settings = student(progress_points=1)
    made = adaptation_in(tmp_path, data(), settings, ONLINE, window=12, children=1)
    teacher, lesson = made.school.untaught(), made.school.lesson(1)
    found = estimate(made.school.estimator(), lesson, teacher, len(made.school.features))
    wanted = torch.autograd.grad(found.loss, list(teacher.parameters()))
    made.loop.run()
    for mine, gradient in zip(made.loop.teacher.parameters(), wanted, strict=True):
        assert torch.equal(mine.grad, gradient) and gradient.any()
    assert torch.equal(made.loop.children[0].params, found.student.final.params)


@pytest.mark.parametrize("form", ["matrix", "diagonal"])
def test_a_taught_policy_guides_other_students_on_other_classes(data, student, tmp_path, form):
    settings = dataclasses.replace(ALA, form=form, teacher_steps=2, validate_every=1)
    made = teaching_of(data(), student(), settings, tmp_path / "teacher")
    made.run()
    assert made.estimator.memory.added == 8 and read_steps(tmp_path / "teacher" / LOG_NAME)[1].reward is not None
    others = dataclasses.replace(data(), class_names=("x", "y", "z"), fingerprint="1" * 8)
    read = read_teacher(tmp_path / "teacher" / LAST_NAME, others)
    assert read.header.kind == "controller" and read.digest == read_teacher(read.path, data()).digest
    record = Training(others, TrainingSettings(student(model="mlp-7"), "dlf", {}, read), 1, tmp_path / "dlf").finish()
    assert "controller" in record.teacher and record.epochs == 2


def test_a_resumed_training_with_a_controller_is_the_straight_one(data, student, tmp_path):
    """The controller's memory is found again from the progress that was seen."""
    teaching_of(data(), student(), dataclasses.replace(ALA, teacher_steps=1), tmp_path / "teacher").run()
    read = read_teacher(tmp_path / "teacher" / LAST_NAME, data())
    for tensor in read.teacher.parameters():
        tensor.normal_()
    settings = TrainingSettings(student(), "dlf", {}, read)
    Training(data(), settings, 1, tmp_path / "straight").run()
    first = Training(data(), settings, 1, tmp_path / "resumed")
    first._epoch()
    second = Training(data(), settings, 1, tmp_path / "resumed")
    second.run()
    straight = Training(data(), settings, 1, tmp_path / "straight")
    assert torch.equal(second.state.params, straight.state.params)
    moved = second.guidance.coefficients(11) - torch.eye(3).flatten()
    assert second.state.updates == 12 and moved.any()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"estimator": "reverse"}, "a teacher controller draws its actions, .*: take the estimator reinforce"),
        ({"teacher": "static"}, "teachers such as controller, and a teacher static is none"),
        ({"truncate": 3}, "truncate has no effect, since the estimator reinforce does not go back"),
        ({"clip_cotangent": 1.0}, "clip_cotangent has no effect"),
        ({"growth_limit": 10.0}, "growth_limit has no effect"),
        ({"trajectory_memory": "1GiB"}, "trajectory_memory has no effect"),
        ({"teacher": "controller(depth=3)"}, "no option depth: its options are beta=0.1, reach=1, sampled=0"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(ALA, **changes)


@pytest.mark.parametrize("window", [0, 13])
def test_windows_out_of_range_are_refused(data, student, tmp_path, window):
    with pytest.raises(ValueError, match=f"window (is|has) {window}"):
        adaptation_in(tmp_path, data(), student(), window=window)
