"""A schedule between knots."""

import pytest
import torch

from fairseq_dlf.core.teaching.teachers import ScheduleTeacher


def along(teacher, *shares):
    """Φ at shares of the run, whatever the other features are."""
    return teacher.along(torch.tensor([[share, 0.3] for share in shares]))


def test_it_is_linear_between_its_knots():
    teacher = ScheduleTeacher(torch.tensor([[0.0, 4.0, 2.0], [1.0, 1.0, -1.0]]))
    found = along(teacher, 0.0, 0.25, 0.5, 0.75, 1.0)
    assert found.tolist() == [[0.0, 1.0], [2.0, 1.0], [4.0, 1.0], [3.0, 0.0], [2.0, -1.0]]
    assert teacher.coefficients == 2 and teacher.features is None and not teacher.reads_progress


def test_one_knot_is_a_constant():
    teacher = ScheduleTeacher.untaught(torch.tensor([1.0, 2.0]), features=2, knots=1)
    assert along(teacher, 0.0, 0.9).tolist() == [[1.0, 2.0], [1.0, 2.0]]


def test_it_begins_neutral_and_every_knot_can_move():
    neutral = torch.tensor([1.0, 0.5])
    teacher = ScheduleTeacher.untaught(neutral, features=2, knots=4)
    assert torch.equal(along(teacher, 0.1, 0.6), neutral.expand(2, 2))
    (gradient,) = torch.autograd.grad(along(teacher, *(torch.arange(12) / 12).tolist()).sum(), teacher.knots)
    assert (gradient > 0.5).all()


def test_it_is_read_from_its_tensors_and_bounded():
    teacher = ScheduleTeacher.from_tensors({"knots": torch.tensor([[-1.0, 5.0]])})
    teacher.bound(torch.tensor([0.0]), torch.tensor([2.0]))
    assert teacher.knots.tolist() == [[0.0, 2.0]]


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({}, "needs the tensor 'knots', which is missing"),
        ({"knots": torch.ones(3)}, r"knots of the shape \(3,\): wanted \(coefficients, K\)"),
        ({"knots": torch.ones(2, 0)}, "wanted"),
        ({"knots": torch.tensor([[float("nan")]])}, "not all finite"),
    ],
)
def test_refuses_tensors_that_are_no_schedule(tensors, words):
    with pytest.raises(ValueError, match=words):
        ScheduleTeacher.from_tensors(tensors)


def test_a_schedule_without_knots_is_refused():
    with pytest.raises(ValueError, match="is 0, but must be at least 1"):
        ScheduleTeacher.untaught(torch.ones(1), 1, knots=0)
