"""The confusion of classes against a straightforward version, and the choice of statistics by name."""

import math

import pytest
import torch

from fairseq_dlf.core.teaching.forms import FORMS, Matrix
from fairseq_dlf.images.losses import make_loss
from fairseq_dlf.images.students.confusion import StudentConfusion
from fairseq_dlf.images.students.lesson import ImageCourse
from fairseq_dlf.images.students.statistics import features_of, statistics_of


@pytest.fixture
def course(data, student):
    return ImageCourse(data(), student(), make_loss("dlf", {}), 1, statistics="confusion")


def test_it_is_the_mean_negative_log_probability_of_each_pair(course, data):
    dev, params = data().dev, course.start.params
    found = course.observe(0, params, course.student.buffers()).view(3, 3)
    with torch.no_grad():
        logits = course.student.run(params, lambda forward: forward(dev.images).logits)
    for own in range(3):
        for other in range(3):
            chosen = -torch.log_softmax(logits[dev.labels == own], dim=-1)[:, other]
            mean = float(chosen.mean())
            assert found[own, other] == pytest.approx(mean / (mean + math.log(3)), rel=1e-5)
    assert len(found.unique()) == 9 and found.min() > 0 and found.max() < 1


def test_other_forms_see_the_means_of_right_and_wrong_classes(course, data):
    whole = course.observe(0, course.start.params, course.student.buffers()).view(3, 3)
    pooled = StudentConfusion(data().dev, 3, FORMS.make("diagonal"))
    own, other = pooled.measure(course.student, course.start.params, course.student.buffers())
    assert own == pytest.approx(float(whole.diagonal().mean()))
    assert other == pytest.approx(float(whole[~torch.eye(3).bool()].mean()))


def test_of_a_class_without_images_nothing_is_known_and_a_diverged_student_is_as_bad_as_can_be(course, data):
    dev = data().dev
    measured = StudentConfusion(dev.at(dev.labels != 1), 3, Matrix())
    found = measured.measure(course.student, course.start.params, {}).view(3, 3)
    assert found[1].tolist() == pytest.approx([0.5] * 3) and found[0, 0] != 0.5
    lost = measured.measure(course.student, course.start.params * math.nan, {}).view(3, 3)
    assert lost[0].tolist() == [1.0] * 3


def test_statistics_go_by_the_name_that_the_teacher_gives(data):
    assert features_of("progress", 2, Matrix())[:2] == ("updates", "train_accuracy")
    assert features_of("confusion", 2, Matrix()) == ("updates", "nll_0_0", "nll_0_1", "nll_1_0", "nll_1_1")
    assert features_of("confusion", 2, FORMS.make("diagonal")) == ("updates", "nll_own", "nll_other")
    with pytest.raises(ValueError, match="reads the statistics 'mood', but students of images have progress and conf"):
        statistics_of("mood", data().train, data().dev, 3, Matrix())
