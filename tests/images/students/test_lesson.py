"""A student's run: what each update depends on, and when its progress is measured."""

import pytest
import torch

from fairseq_dlf.core.hypergradient.unroll import unroll
from fairseq_dlf.core.teaching.teachers.attention import Teacher
from fairseq_dlf.images.losses import make_loss
from fairseq_dlf.images.students.accuracy import predictions
from fairseq_dlf.images.students.lesson import StudentRun

FEATURES = 6


@pytest.fixture
def teacher():
    torch.manual_seed(7)
    return Teacher(torch.eye(3).flatten().unsqueeze(1) + 0.3 * torch.randn(9, 4), 2 * torch.randn(4, FEATURES))


def taught(data, student, teacher, seed=1):
    run = StudentRun(data, student, make_loss("dlf"), teacher, seed)
    start = student.rule.initial(run.student.flat_params())
    return run, unroll(run.student, student.rule, run.source, start, run.updates, observe=run.observe)


def test_progress_is_measured_of_the_student_before_the_update(data, student, teacher):
    images, settings = data(), student()
    run, _ = taught(images, settings, teacher)
    assert run.measured_updates() == [0, 3, 6, 9] and run.updates == 12
    head = unroll(run.student, settings.rule, run.source, settings.rule.initial(run.student.flat_params()), 6)
    predicted = predictions(run.student, head.final.params, head.buffers, images.dev.images)
    right = predicted == images.dev.labels
    precision = [float(right[predicted == c].double().mean()) if (predicted == c).any() else 0.0 for c in range(3)]
    trained = predictions(run.student, head.final.params, head.buffers, images.train.images)
    accuracies = [float((trained == images.train.labels).double().mean()), float(right.double().mean())]
    for t in (6, 7, 8):
        torch.testing.assert_close(run.progress[t], torch.tensor([t / 12, *accuracies, *precision]))
    assert not torch.equal(run.progress[5, 1:], run.progress[6, 1:])


def test_a_class_that_is_never_predicted_has_precision_0(data, student, teacher):
    run = StudentRun(data(), student(), make_loss("dlf"), teacher, 1)
    params = torch.zeros_like(run.student.flat_params())
    params[-3] = 1.0  # the bias of class 0
    run.observe(0, params, run.student.buffers())
    assert run.progress[0, 3] > 0 and run.progress[0, 4:].tolist() == [0.0, 0.0]


def test_every_step_can_be_asked_for_again(data, student, teacher):
    run, _ = taught(data(augments=True), student(), teacher)
    for t in (11, 0, 5, 6, 2):
        step, again = run.source(t), run.source(t)
        torch.testing.assert_close(step.coefficients, teacher(run.progress[t]))
        assert torch.equal(step.batch.images, again.batch.images) and step.seed == again.seed
    assert not torch.equal(run.source(2).coefficients, run.source(11).coefficients)


def test_without_a_teacher_phi_is_the_identity_and_nothing_is_measured(data, student):
    run, _ = taught(data(), student(), None)
    assert torch.equal(run.source(4).coefficients.view(3, 3), torch.eye(3))
    assert run.progress.shape == (12, 0)


def test_the_seed_fixes_the_run(data, student, teacher):
    found = [taught(data(), student(), teacher, seed)[1].final.params for seed in (1, 1, 2)]
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_rates_fall_at_milestones(data, student):
    settings = student(milestones=(0.5, 0.75))
    run = StudentRun(data(), settings, make_loss("cross_entropy"), None, 1)
    rates = [run.source(t).learning_rate for t in range(12)]
    assert rates == pytest.approx([0.3] * 6 + [0.03] * 3 + [0.003] * 3)
