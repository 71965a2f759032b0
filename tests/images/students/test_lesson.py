"""A student's run: what each update depends on, and what a teacher sees of it."""

from functools import partial

import pytest
import torch

from fairseq_dlf.core.hypergradient.unroll import unroll
from fairseq_dlf.core.teaching.guidance import Guidance
from fairseq_dlf.core.teaching.teachers import AttentionTeacher
from fairseq_dlf.images.losses import make_loss
from fairseq_dlf.images.measures import ExpectedAccuracy
from fairseq_dlf.images.students import lesson
from fairseq_dlf.images.students.accuracy import predictions
from fairseq_dlf.images.students.lesson import ImageCourse, ImageLesson, coefficient_path

FEATURES = 6


@pytest.fixture
def teacher():
    torch.manual_seed(7)
    return AttentionTeacher(torch.eye(3).flatten().unsqueeze(1) + 0.3 * torch.randn(9, 4), 2 * torch.randn(4, FEATURES))


def course_of(data, student, seed=1, **more):
    return ImageCourse(data, student, make_loss("dlf"), seed, **more)


def taught(data, student, teacher, seed=1):
    course = course_of(data, student, seed)
    guidance = Guidance(course, teacher, FEATURES)
    done = unroll(course.student, course.rule, guidance.source, course.start, course.updates, observe=guidance.observe)
    return course, guidance, done


def test_progress_is_measured_of_the_student_before_the_update(data, student, teacher):
    images = data()
    course, guidance, _ = taught(images, student(), teacher)
    assert guidance.observed() == [0, 3, 6, 9] and course.updates == 12
    head = unroll(course.student, course.rule, guidance.source, course.start, 6)
    predicted = predictions(course.student, head.final.params, head.buffers, images.dev.images)
    right = predicted == images.dev.labels
    precision = [float(right[predicted == c].double().mean()) if (predicted == c).any() else 0.0 for c in range(3)]
    trained = predictions(course.student, head.final.params, head.buffers, images.train.images)
    accuracies = [float((trained == images.train.labels).double().mean()), float(right.double().mean())]
    for t in (6, 7, 8):
        torch.testing.assert_close(guidance.progress[t], torch.tensor([t / 12, *accuracies, *precision]))
    assert not torch.equal(guidance.progress[5, 1:], guidance.progress[6, 1:])


def test_a_class_that_is_never_predicted_has_precision_0(data, student):
    course = course_of(data(), student())
    params = torch.zeros_like(course.student.flat_params())
    params[-3] = 1.0  # the bias of class 0
    measured = course.observe(0, params, course.student.buffers())
    assert measured[2] > 0 and measured[3:].tolist() == [0.0, 0.0]


def test_every_step_can_be_asked_for_again(data, student):
    course = course_of(data(augments=True), student())
    for t in (11, 0, 5, 6, 2):
        step, again = course.step(t), course.step(t)
        assert torch.equal(step.batch.images, again.batch.images) and step.seed == again.seed
        assert (step.batch.iteration, step.batch.iterations) == (t, 12)
    assert not torch.equal(course.step(2).batch.images, course.step(11).batch.images)


def test_the_seed_fixes_the_run(data, student, teacher):
    found = [taught(data(), student(), teacher, seed)[2].final.params for seed in (1, 1, 2)]
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_rates_fall_at_milestones(data, student):
    course = course_of(data(), student(milestones=(0.5, 0.75)))
    rates = [course.step(t).learning_rate for t in range(12)]
    assert rates == pytest.approx([0.3] * 6 + [0.03] * 3 + [0.003] * 3)


def test_a_lesson_measures_its_own_student_with_the_measure_given(data, student):
    images = data()
    lesson = ImageLesson(images, student(), make_loss("dlf"), 1, partial(ExpectedAccuracy, sharpness=3.0), images.dev)
    params = lesson.start.params
    logits = lesson.student.run(params, lambda forward: forward(images.dev.images).logits)
    chance = torch.softmax(3.0 * logits, dim=-1).gather(1, images.dev.labels.unsqueeze(1)).mean()
    assert lesson.measure.value(params) == pytest.approx(float(chance), rel=1e-5)


def test_the_path_of_coefficients_has_a_matrix_for_each_measurement(data, student, teacher):
    images = data()
    course, guidance, _ = taught(images, student(), teacher)
    path = coefficient_path(course, guidance, images, 0.2)
    assert path.matrices.shape == (4, 3, 3) and (path.form, path.phi_start) == ("matrix", 0.2)
    assert torch.equal(path.coefficients[2], guidance.coefficients(6))
    assert path.epochs.tolist() == [0.0, 0.5, 1.0, 1.5]
    assert (path.class_names, path.data, path.model) == (("a", "b", "c"), "mnist", "mlp-5")


def test_what_a_seed_means_does_not_change():
    assert (lesson.MODEL_SALT, lesson.BATCH_SALT, lesson.STEP_SALT) == (1, 2, 3)
