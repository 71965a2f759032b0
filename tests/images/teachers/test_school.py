"""Teaching: learning, resuming bit for bit, the best teacher, collapses, bounds."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from fairseq_dlf.core.hypergradient.student import Point
from fairseq_dlf.core.hypergradient.trajectory import TrajectoryPlan, record_bytes
from fairseq_dlf.core.teaching.estimators import ESTIMATORS
from fairseq_dlf.core.teaching.forms import Matrix
from fairseq_dlf.core.teaching.loop.journal import LOG_NAME, read_steps
from fairseq_dlf.core.teaching.loop.steps import BEST_NAME, LAST_NAME
from fairseq_dlf.core.teaching.loss import DynamicLoss
from fairseq_dlf.images.measures import MEASURES, ExpectedAccuracy
from fairseq_dlf.images.records.coefficients import PATH_NAME
from fairseq_dlf.images.students.files import StudentFile
from fairseq_dlf.images.students.models import parameter_count
from fairseq_dlf.images.students.tasks import classification
from fairseq_dlf.images.teachers import school
from fairseq_dlf.images.teachers.files import read_teacher
from fairseq_dlf.images.teachers.school import ImageSchool, teaching_of
from fairseq_dlf.images.teachers.settings import TeachingSettings

PLAIN = TeachingSettings(
    teacher_steps=4, teacher_lr=0.05, keys=3, key_scale=2.0, validate_every=2, collapse_share=0.5, seed=3
)


def teach(data, student, folder, **changes):
    made = teaching_of(data, student, dataclasses.replace(PLAIN, **changes), folder)
    made.run()
    return made


def test_a_teacher_raises_what_it_is_taught_to_raise(data, student, tmp_path):
    """Repeating one and the same episode, its measure rises."""
    settings = student(epochs=3.0)
    made = teaching_of(data(), settings, dataclasses.replace(PLAIN, teacher_lr=0.02), tmp_path)
    measures = []
    for _ in range(6):
        measures.append(made._lesson(1)["measure_after"])
    assert measures == sorted(measures) and measures[-1] > measures[0] + 0.01


def test_a_resumed_run_is_the_straight_run(data, student, tmp_path):
    straight = teach(data(), student(), tmp_path / "straight")
    teach(data(), student(), tmp_path / "resumed", teacher_steps=2)
    # A line of a step whose state was not saved any more.
    log = tmp_path / "resumed" / LOG_NAME
    row = json.loads(log.read_text().splitlines()[-1])
    log.write_text(log.read_text() + json.dumps({**row, "step": 3}) + "\n")
    resumed = teach(data(), student(), tmp_path / "resumed")
    for mine, other in zip(straight.teacher.parameters(), resumed.teacher.parameters(), strict=True):
        assert torch.equal(mine, other)
    rows = [read_steps(tmp_path / name / LOG_NAME) for name in ("straight", "resumed")]
    assert [row.step for row in rows[1]] == [0, 1, 2, 3, 4]
    for mine, other in zip(*rows, strict=True):
        assert dataclasses.replace(mine, elapsed_s=0.0) == dataclasses.replace(other, elapsed_s=0.0)
    names = (BEST_NAME, LAST_NAME)
    stored = [[read_teacher(tmp_path / f / name, data()).digest for name in names] for f in ("straight", "resumed")]
    assert stored[0] == stored[1]


def test_the_best_teacher_of_the_validations_is_kept(data, student, tmp_path, monkeypatch):
    values = iter([0.5, 0.8, 0.8, 0.7])
    monkeypatch.setattr(classification, "accuracy", lambda *given: next(values))
    made = teach(data(), student(), tmp_path, teacher_steps=3, validate_every=1)
    assert (made.best_step, made.best_value) == (1, 0.8)
    best, last = (read_teacher(tmp_path / name, data()) for name in (BEST_NAME, LAST_NAME))
    assert best.header.signature.endswith("|step:1") and last.header.signature.endswith("|step:3")
    assert best.digest != last.digest
    assert [row.dev_accuracy for row in read_steps(tmp_path / LOG_NAME)] == [0.5, 0.8, 0.8, 0.7]
    assert (tmp_path / PATH_NAME).is_file()


def test_an_untaught_teacher_that_stays_the_best_is_reported(data, student, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(classification, "accuracy", lambda *given: 0.5)
    with caplog.at_level("INFO"):
        made = teach(data(), student(), tmp_path)
    assert made.best_step == 0
    assert "no validated teacher was better than the untaught one" in caplog.text


def test_three_collapses_in_a_row_end_the_run_and_teach_nothing(data, student, tmp_path):
    settings = student(learning_rate=1e20)
    with pytest.raises(
        RuntimeError,
        match="3 lessons in a row collapsed, the last because .*The best teacher so far is in .*teacher.safetensors",
    ):
        teach(data(), settings, tmp_path, teacher_steps=9)
    rows = read_steps(tmp_path / LOG_NAME)
    assert [row.collapsed for row in rows] == [False, True, True, True]
    assert rows[-1].dtheta_norm == 0.0


def test_an_exploding_cotangent_is_a_collapse(data, student, tmp_path):
    made = teaching_of(data(), student(), dataclasses.replace(PLAIN, growth_limit=0.01), tmp_path)
    assert made._lesson(1)["collapsed"]
    made = teaching_of(data(), student(), PLAIN, tmp_path)
    figures = made._lesson(1)
    assert "collapsed" not in figures and 0.01 < figures["cotangent_growth"] < 1000


def test_a_student_far_below_the_best_so_far_is_a_collapse(data, student, tmp_path):
    """A fresh student begins at chance: only the episodes before show that it was destroyed."""
    made = teach(data(), student(epochs=6.0), tmp_path, teacher_steps=1)
    with torch.no_grad():
        made.teacher.values.mul_(-1.0)  # rewards the wrong
    figures = made._lesson(2)
    assert figures["collapsed"] and figures["measure_after"] < 0.5 * made.collapses.best
    assert figures["measure_after"] < 0.34


def test_bounds_hold_through_teaching(data, student, tmp_path):
    free = teach(data(), student(), tmp_path / "free").teacher.values.detach()
    changes = {"phi_diagonal": (0.98, 1.01), "phi_off_diagonal": (0.0, float("inf"))}
    bound = teach(data(), student(), tmp_path / "bound", **changes).teacher.values.detach()
    eye = torch.eye(3).flatten().bool()
    assert free[~eye].min() < -0.01
    assert bound[~eye].min() >= 0.0 and bound[~eye].max() > 0.01
    assert bound[eye].min() >= 0.98 - 1e-6 and bound[eye].max() <= 1.01 + 1e-6


def test_one_key_gives_coefficients_that_ignore_the_student(data, student, tmp_path):
    for keys, moves in ((1, False), (3, True)):
        teacher = teach(data(), student(), tmp_path / str(keys), keys=keys).teacher
        found = teacher.along(torch.rand(10, 6)).detach()
        assert (float(found.std(dim=0).max()) > 1e-4) == moves


def test_lessons_can_start_from_a_student(data, student):
    fresh = ImageSchool(data(), student(), PLAIN)
    tensors = fresh.lesson(11).student.module.state_dict()
    warm = StudentFile(Path("warm"), "mlp-5", {name: tensor.clone() for name, tensor in tensors.items()})
    made = ImageSchool(data(), student(), PLAIN, warm)
    found = [made.lesson(step).start.params for step in (1, 2)]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(fresh.lesson(1).start.params, found[0])
    assert warm.digest in str(made.signature(made.estimator()))


def test_every_lesson_has_a_student_of_its_own(data, student):
    made = ImageSchool(data(), student(), PLAIN)
    starts = [made.lesson(step).start.params for step in (1, 2, 1)]
    assert torch.equal(starts[0], starts[2]) and not torch.equal(starts[0], starts[1])


def test_validation_is_the_mean_of_students_that_are_the_same_for_every_teacher(data, student, monkeypatch):
    made, started = ImageSchool(data(), student(), dataclasses.replace(PLAIN, validation_students=3)), []
    values = iter([0.2, 0.4, 0.9] * 2)
    monkeypatch.setattr(
        classification, "accuracy", lambda course_student, *rest: started.append(course_student) or next(values)
    )
    for _ in range(2):
        assert made.validate(made.untaught()).value == pytest.approx(0.5)
    starts = [each.flat_params() for each in started]
    for place in range(3):
        assert torch.equal(starts[place], starts[place + 3])
        assert not torch.equal(starts[place], starts[(place + 1) % 3])


def test_the_estimator_has_the_plan_of_the_settings(data, student):
    changes = {"truncate": 5, "clip_cotangent": 0.7, "collapse_share": 0.25, "growth_limit": 50.0}
    plan = ImageSchool(data(), student(), dataclasses.replace(PLAIN, **changes)).estimator().plan
    found = (plan.steps, plan.truncation, plan.cotangent_clip, plan.collapse_share, plan.growth_limit)
    assert found == (12, 5, 0.7, 0.25, 50.0)


def test_lessons_have_the_loss_and_the_measure_of_the_settings(data, student):
    images = data()
    made = ImageSchool(images, student(), dataclasses.replace(PLAIN, ce_share=0.25, sharpness=4.0))
    lesson = made.lesson(1)
    params, step = lesson.start.params, lesson.step(0)
    logits = lesson.student.run(params, lambda forward: forward(step.batch.images).logits)
    phi = torch.randn(9)
    wanted = DynamicLoss(Matrix(), ce_share=0.25)(logits, step.batch.labels, phi).loss / 10
    torch.testing.assert_close(lesson.student.loss(Point(params, phi, step.batch, step.seed)), wanted)
    assert lesson.measure.value(params) == ExpectedAccuracy(lesson.student, images.dev, 4.0).value(params)
    assert lesson.measure.value(params) != ExpectedAccuracy(lesson.student, images.dev, 1.0).value(params)


def test_a_header_says_what_the_teacher_is_and_what_it_was_taught_on(data, student):
    changes = {"ce_share": 0.25, "form": "diagonal", "teacher": "static", "keys": None, "key_scale": None}
    header = ImageSchool(data(), student(), dataclasses.replace(PLAIN, **changes)).header("signed")
    assert (header.kind, header.form, header.signature) == ("static", "diagonal", "signed")
    fits = {"class_names": ["a", "b", "c"], "data": "mnist", "model": "mlp-5", "ce_share": 0.25, "phi_start": 1.0}
    assert header.fits == fits


def test_the_measure_can_take_some_dev_images_anew_each_time(data, student):
    made = ImageSchool(data(), student(), dataclasses.replace(PLAIN, measure_images=7))
    first, again, other = (made.lesson(step).measure.images for step in (1, 1, 2))
    assert len(first.labels) == 7
    assert torch.equal(first.images, again.images) and not torch.equal(first.images, other.images)


def test_a_part_of_dev_can_be_held_out_for_the_choice_of_the_teacher(data, student, tmp_path, monkeypatch):
    images, seen = data(), []
    monkeypatch.setattr(classification, "accuracy", lambda *given: seen.append(given[-1]) or 0.5)
    made = teach(images, student(), tmp_path, teacher_steps=1, measure_share=0.6)
    assert torch.equal(made.school.lesson(1).measure.images.images, images.dev.images[:18])
    assert all(torch.equal(given.images, images.dev.images[18:]) for given in seen) and len(seen) == 2
    with pytest.raises(ValueError, match="measure_share 0.999 leaves 30 of 30 dev images"):
        teach(images, student(), tmp_path / "other", measure_share=0.999)
    with pytest.raises(ValueError, match="measure_share 0.001 leaves 0 of 30 dev images"):
        teach(images, student(), tmp_path / "none", measure_share=0.001)


def test_a_folder_of_other_settings_is_refused(data, student, tmp_path):
    teach(data(), student(), tmp_path, teacher_steps=1)
    with pytest.raises(ValueError, match="holds a run with other settings"):
        teach(data(), student(), tmp_path, teacher_lr=0.1)


def test_a_damaged_state_is_named(data, student, tmp_path):
    teach(data(), student(), tmp_path, teacher_steps=1)
    state = tmp_path / "last.pt"
    state.write_bytes(state.read_bytes()[:200])
    with pytest.raises(ValueError, match="last.pt is no checkpoint, or is damaged.*delete"):
        teach(data(), student(), tmp_path)


def test_too_little_memory_is_named(data, student, tmp_path):
    with pytest.raises(ValueError, match="trajectory is 10 B, but one kept step takes"):
        teach(data(), student(), tmp_path, trajectory_memory="10B")


def test_a_short_memory_gives_the_same_teacher(data, student, tmp_path):
    everything = teach(data(), student(), tmp_path / "everything", teacher_steps=2).teacher
    short = teach(data(), student(), tmp_path / "short", teacher_steps=2, trajectory_memory="4kB").teacher
    assert torch.equal(everything.values, short.values)


def test_memory_that_students_leave_holds_graphs(data, student):
    def graphs(**changes):
        made = ImageSchool(data(), student(), dataclasses.replace(PLAIN, **changes))
        return made.estimator().plan.trajectory.graphs, made._graph_bytes()

    every, size = graphs()
    assert every == 12 and size > 0
    plan = ImageSchool(data(), student(), PLAIN).estimator().plan
    students = 12 * record_bytes(student().rule, parameter_count(student().model, data().shape, data().classes))
    for room, wanted in ((3 * size, 3), (3 * size - 1, 2), (0, 0), (-1, 0)):
        assert graphs(trajectory_memory=f"{students + room}") == (wanted, size)
    assert graphs(truncate=5)[0] == 5
    assert graphs(estimator="forward_differences")[0] == 0
    assert plan.signature == dataclasses.replace(plan, trajectory=TrajectoryPlan()).signature


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"teacher_steps": 0}, "teacher_steps is 0, but must be at least 1"),
        ({"teacher_lr": 0.0}, "teacher_lr is 0.0"),
        ({"sharpness": 0.0}, "sharpness is 0.0, but must be positive"),
        ({"measure": "luck"}, "no measure named 'luck': wanted one of expected_accuracy"),
        ({"estimator": "luck"}, "no estimator named 'luck': wanted one of forward_differences, reinforce, reverse"),
        (
            {"teacher": "lstm", "keys": None, "key_scale": None},
            "a teacher lstm moves Φ .*: take the estimator two_unrolls",
        ),
        ({"estimator": "two_unrolls"}, "such as lstm, and a teacher attention is none: take that one"),
        ({"estimator": "reverse(depth=1)"}, "the estimator reverse has no option depth: its options are none"),
        ({"teacher": "static"}, "the teacher static has no option key_scale, keys: its options are none"),
        ({"teacher": "attention(keys=4)"}, "keys is given twice, as 3 and within the teacher attention.keys=4.: leave"),
        ({"measure_share": 1.5}, "measure_share is 1.5, but must lie in"),
        ({"phi_diagonal": (1.1, 2.0)}, "the bounds phi_diagonal = 1.1,2 leave out 1"),
        ({"phi_off_diagonal": (0.1, 1.0)}, "the bounds phi_off_diagonal = 0.1,1 leave out 0"),
    ],
)
def test_wrong_settings_are_named(changes, words):
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(PLAIN, **changes)


def test_options_can_stand_within_a_name():
    changes = {"keys": None, "key_scale": None}
    within = dataclasses.replace(
        PLAIN, **changes, teacher="attention(key_scale=0.5)", measure="expected_accuracy(sharpness=4)"
    )
    beside = dataclasses.replace(PLAIN, keys=10, key_scale=0.5, sharpness=4.0)
    assert within.chosen_teacher == ("attention", {"keys": 10, "key_scale": 0.5})
    assert within.chosen_measure == ("expected_accuracy", {"sharpness": 4})
    assert within.signature == beside.signature


CHANGES = {
    "teacher_lr": 0.1,
    "form": "diagonal",
    "teacher": "static",
    "estimator": "other",
    "measure": "other",
    "keys": 4,
    "key_scale": 1.0,
    "phi_start": 0.5,
    "sharpness": 4.0,
    "ce_share": 0.5,
    "truncate": 3,
    "clip_cotangent": 1.0,
    "collapse_share": 0.1,
    "growth_limit": 10.0,
    "measure_images": 5,
    "measure_share": 0.5,
    "validate_every": 3,
    "validation_students": 2,
    "phi_diagonal": (0.0, 2.0),
    "phi_off_diagonal": (-1.0, 1.0),
    "seed": 4,
}
OF_STUDENTS = {
    "model": "mlp-6",
    "batch_size": 12,
    "learning_rate": 0.2,
    "momentum": 0.5,
    "weight_decay": 0.1,
    "epochs": 1.0,
    "milestones": (0.5,),
    "progress_points": 3,
    "progress_images": 20,
}


class OtherEstimator:
    def __init__(self, plan):
        self.signature = {"estimator": "other", **plan.signature}


@pytest.fixture
def others(monkeypatch):
    """A second estimator and a second measure, both named 'other'."""
    for registry, entry in ((ESTIMATORS, OtherEstimator), (MEASURES, ExpectedAccuracy)):
        monkeypatch.setattr(registry, "_entries", registry._entries | {"other": entry})


def test_every_setting_but_the_number_of_steps_is_in_the_signature(data, student, others):
    plain, images = student(), data()
    without_effect = {"teacher_steps", "trajectory_memory"}
    # Another task wants another teacher, too: the tests of the task have its signature.
    assert {field.name for field in dataclasses.fields(PLAIN)} == {*CHANGES, *without_effect, "task"}
    assert {field.name for field in dataclasses.fields(plain)} == set(OF_STUDENTS)

    def signature(settings, trained):
        made = ImageSchool(images, trained, settings)
        return str(made.signature(made.estimator()))

    start = signature(PLAIN, plain)
    for name, value in CHANGES.items():
        teacher = {"keys": None, "key_scale": None} if name == "teacher" else {}
        assert signature(dataclasses.replace(PLAIN, **{name: value}, **teacher), plain) != start, name
    for name, value in OF_STUDENTS.items():
        assert signature(PLAIN, dataclasses.replace(plain, **{name: value})) != start, name
    for name, value in (("teacher_steps", 9), ("trajectory_memory", "1MiB")):
        assert signature(dataclasses.replace(PLAIN, **{name: value}), plain) == start, name


def test_a_measure_may_take_all_of_its_images(data, student):
    made = ImageSchool(data(), student(), dataclasses.replace(PLAIN, measure_images=30))
    assert len(made.measured.labels) == 30


def test_what_a_seed_means_does_not_change():
    salts = (school.LESSON_SALT, school.VALIDATION_SALT, school.TEACHER_SALT, school.MEASURE_SALT)
    assert salts == (1, 2, 3, 4)
