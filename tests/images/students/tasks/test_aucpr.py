"""The task of one-against-rest problems: Φ, what a controller reads, what it raises, what is reported."""

import pytest
import torch

from fairseq_dlf.core.teaching.forms import Matrix
from fairseq_dlf.images.losses.aucpr import ANCHORS
from fairseq_dlf.images.students.lesson import ImageCourse
from fairseq_dlf.images.students.tasks import TASKS
from fairseq_dlf.images.students.tasks.aucpr import AnchorStatistics
from fairseq_dlf.images.students.tasks.precision_recall import average_precisions, recalls_at

TASK = TASKS.make("aucpr")


@pytest.fixture
def course(data, student):
    return ImageCourse(data(), student(), None, 1, task=TASK)


def logits_of(course, images):
    with torch.no_grad():
        return course.student.module(images).logits


def test_the_loss_starts_as_the_papers_with_multipliers_that_stay_positive():
    start, (low, high) = TASK.start(Matrix(), 0.5, 3), TASK.limits(Matrix(), 3)
    assert start.tolist() == [0.5] * ANCHORS + [0.0] * ANCHORS
    assert low.tolist() == [0.0] * ANCHORS + [-torch.inf] * ANCHORS and bool((high == torch.inf).all())
    assert len(TASK.features("tallies", 3, Matrix())) == 1 + len(start)


def test_a_controller_reads_recall_and_threshold_of_each_anchor(data, course):
    dev, params = data().dev, course.start.params
    found = course.observe(0, params, {})
    assert torch.equal(found, AnchorStatistics(dev).measure(course.student, params, {}))
    precisions = torch.arange(1, ANCHORS + 1, dtype=torch.float64) / (ANCHORS + 1)
    recall, threshold = recalls_at(logits_of(course, dev.images), dev.labels, precisions)
    assert found[:ANCHORS].tolist() == pytest.approx((recall.mean(dim=1) / 2).tolist(), abs=1e-6)
    assert found[ANCHORS:].tolist() == pytest.approx((0.5 + threshold.sigmoid().mean(dim=1) / 2).tolist(), abs=1e-6)
    assert 0 <= float(found.min()) <= float(found[:ANCHORS].max()) <= 0.5 <= float(found[ANCHORS:].min())
    assert found.dtype == torch.float32 and len(found.unique()) > 5


def test_what_is_raised_and_reported_is_the_mean_over_classes(data, course):
    dev, params = data().dev, course.start.params
    wanted = float(average_precisions(logits_of(course, dev.images), dev.labels).mean())
    assert course.task.measure(course.student, dev).value(params) == pytest.approx(wanted, abs=1e-12)
    assert TASK.value(course.student, params, {}, dev) == pytest.approx(wanted, abs=1e-12)
    lost = TASK.lost(course.student, params, {}, dev)
    assert lost.shape == (3,) and float(lost.mean()) == pytest.approx(1 - wanted, abs=1e-12)
    assert TASK.wrong(lost) == () and 0.2 < wanted < 0.9


def test_the_measure_has_no_derivative(data, course):
    with pytest.raises(ValueError, match="AUCPR has no derivative: take the estimator reinforce"):
        course.task.measure(course.student, data().dev).value_and_cotangent(course.start.params)
