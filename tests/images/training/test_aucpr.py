"""Training and adaptation for tasks without forms, such as AUCPR: records, resuming, starts, wrong settings."""

import dataclasses

import pytest
import torch

from fairseq_dlf.core.teaching.loop import saved as state_of_a_run
from fairseq_dlf.core.teaching.loop.journal import LOG_NAME, read_steps
from fairseq_dlf.core.teaching.loop.steps import BEST_NAME, LAST_NAME
from fairseq_dlf.images.losses.aucpr import ANCHORS
from fairseq_dlf.images.records.training import find_runs, read_record
from fairseq_dlf.images.reports.table import markdown, table
from fairseq_dlf.images.students.files import read_student
from fairseq_dlf.images.students.lesson import ImageCourse
from fairseq_dlf.images.students.tasks import TASKS
from fairseq_dlf.images.teachers.files import read_teacher
from fairseq_dlf.images.teachers.school import ImageSchool
from fairseq_dlf.images.teachers.settings import TeachingSettings
from fairseq_dlf.images.training.adaptation import AdaptationSettings, ImageAdaptation
from fairseq_dlf.images.training.settings import TrainingSettings
from fairseq_dlf.images.training.training import Training

ALA = TeachingSettings(
    teacher_lr=0.01,
    teacher="coefficient_controller(beta=0.3,reach=2)",
    estimator="reinforce(replay=8,minibatch=4,points=2)",
    validate_every=2,
    collapse_share=0.0,
    seed=3,
    task="aucpr",
)


def adaptation_in(folder, data, student, window=3, children=2, task="aucpr"):
    settings = dataclasses.replace(ALA, task=task)
    return ImageAdaptation(ImageSchool(data, student, settings), AdaptationSettings(window, children), folder)


def training_in(folder, data, student, loss="eban", **more):
    return Training(data, TrainingSettings(student, loss, task="aucpr", **more), 1, folder)


def test_a_controller_moves_multipliers_and_biases_while_students_train(data, student, tmp_path):
    made = adaptation_in(tmp_path, data(), student())
    record = made.finish()
    rows = read_steps(tmp_path / LOG_NAME)
    assert [row.step for row in rows] == [0, 1, 2, 3, 4] and len(made.family.estimator.memory.records) == 8
    course = ImageCourse(data(), student(), None, 1, task=TASKS.make("aucpr"))
    read_student(tmp_path / "best.safetensors").load_into(course.student.module)
    value = course.task.value(course.student, course.student.flat_params(), {}, data().test)
    assert record.test_error == pytest.approx(100 * (1 - value)) and record.test_wrong == ()
    assert record.dev_error == pytest.approx(100 * (1 - max(row.dev_accuracy or 0 for row in rows)))
    assert (record.loss, record.measure) == ("adaptive_eban", "AUCPR") and "|task:aucpr|" in record.signature
    path = made.loop.children[0].path
    assert path.shape == (4, 2 * ANCHORS) and float(path[:, :ANCHORS].min()) >= 0.0
    moved = path[-1] - torch.cat([torch.ones(ANCHORS), torch.zeros(ANCHORS)])
    assert moved[:ANCHORS].any() and moved[ANCHORS:].any() and len(moved.unique()) > 3
    assert read_record(tmp_path / "record.json") == record


@pytest.mark.parametrize("task", ["aucpr", "metric", "metric_focal"])
def test_a_killed_adaptation_goes_on_as_the_straight_one(data, student, tmp_path, monkeypatch, task):
    wanted = adaptation_in(tmp_path / "straight", data(), student(), task=task).finish()

    def killed(folder, signature, state):
        if state["done"] == 3:
            raise KeyboardInterrupt
        return saved(folder, signature, state)

    saved = state_of_a_run.save_state
    monkeypatch.setattr(state_of_a_run, "save_state", killed)
    with pytest.raises(KeyboardInterrupt):
        adaptation_in(tmp_path / "killed", data(), student(), task=task).finish()
    monkeypatch.undo()
    found = adaptation_in(tmp_path / "killed", data(), student(), task=task).finish()
    assert dataclasses.replace(found, elapsed_s=wanted.elapsed_s) == wanted
    for name in (BEST_NAME, LAST_NAME, "best.safetensors", "last.safetensors"):
        one, other = ((tmp_path / folder / name).read_bytes() for folder in ("straight", "killed"))
        assert one == other, name


def test_a_resumed_training_keeps_the_parameters_of_the_loss(data, student, tmp_path):
    straight = training_in(tmp_path / "straight", data(), student())
    straight.run()
    training_in(tmp_path / "resumed", data(), student())._epoch()
    resumed = training_in(tmp_path / "resumed", data(), student())
    resumed.run()
    assert torch.equal(resumed.state.params, straight.state.params)
    start = straight.course.start.params
    pieces = dict(
        zip(straight.course.student.names, straight.course.student.pieces(straight.state.params), strict=True)
    )
    multipliers, biases = pieces["of_loss"]
    assert len(start) == len(straight.state.params) and (multipliers != 1).all() and biases.any()


def test_students_are_the_same_for_every_loss(data, student, tmp_path):
    """One that was trained with parameters of its loss is a start for a loss without, and the other way round."""
    record = training_in(tmp_path / "eban", data(), student()).finish()
    warm = read_student(tmp_path / "eban" / "best.safetensors")
    assert not any("loss" in name for name in warm.tensors)
    training_in(tmp_path / "bce", data(), student(), "binary_cross_entropy", warm=warm).run()
    plain = read_student(tmp_path / "bce" / "best.safetensors")
    course, _ = TrainingSettings(student(), "eban", warm=plain, task="aucpr").guided_course(data(), 1)
    assert torch.equal(course.student.module.head.weight, plain.tensors["head.weight"])
    assert record.measure == "AUCPR" and record.parameters == sum(course.student.sizes)


def test_a_table_compares_runs_of_one_measure(data, student, tmp_path):
    runs = [("binary_cross_entropy", "aucpr"), ("pairwise_auc", "aucpr"), ("cross_entropy", "classification")]
    for loss, task in runs:
        settings = TrainingSettings(student(), loss, task=task)
        for seed in (1, 2):
            Training(data(), settings, seed, tmp_path / loss / f"seed{seed}").finish()
    compared = table(find_runs([tmp_path / loss for loss, _ in runs]))
    rows = {row.name: row for row in compared.rows}
    assert [rows[loss].is_baseline for loss, _ in runs] == [True, False, True]
    row, base = rows["pairwise_auc"], rows["binary_cross_entropy"]
    assert row.difference == pytest.approx(row.test_error_mean - base.test_error_mean)
    assert row.p_images is None and 0 <= row.p_seeds <= 1 and row.measure == "AUCPR"
    assert "| mnist, AUCPR | mlp-5 | pairwise_auc |" in markdown(compared)


def test_a_teacher_of_another_task_guides_no_classification(data, student, tmp_path):
    adaptation_in(tmp_path, data(), student()).finish()
    with pytest.raises(ValueError, match="moves the loss of the task aucpr in `adapt`, and guides no other student"):
        read_teacher(tmp_path / BEST_NAME, data())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"teacher": "controller"}, "the teacher controller does not read: take coefficient_controller"),
        ({"estimator": "reverse"}, "take the estimator reinforce"),
        ({"form": "diagonal"}, "form has no effect, since the task aucpr has a loss and a measure of its own"),
        ({"ce_share": 0.5}, "ce_share has no effect"),
        ({"sharpness": 5.0}, "sharpness has no effect"),
        ({"phi_diagonal": (0.0, 2.0)}, "phi_diagonal has no effect"),
        ({"task": "ranking"}, "there is no task named 'ranking': wanted one of aucpr, classification"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(ALA, **changes)


@pytest.mark.parametrize(
    ("loss", "task", "words"),
    [
        ("eban", "classification", "the task classification has no loss eban: pass --task aucpr, or take one of"),
        ("dlf", "aucpr", "the task aucpr has no loss dlf: pass --task classification, or take one of"),
        ("nonsense", "aucpr", "no loss nonsense: take one of adaptive_eban, binary_cross_entropy, eban, pairwise_auc"),
        ("adaptive_eban", "aucpr", "the loss adaptive_eban is adapted while a student trains: use `adapt`"),
    ],
)
def test_losses_of_another_task_are_refused(student, loss, task, words):
    with pytest.raises(ValueError, match=words):
        TrainingSettings(student(), loss, task=task)
