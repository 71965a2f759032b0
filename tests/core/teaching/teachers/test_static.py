"""A teacher of one Φ."""

import pytest
import torch

from fairseq_dlf.core.teaching.teachers import StaticTeacher


def test_it_gives_its_parameters_for_every_state():
    phi = torch.tensor([1.0, 0.5, -2.0])
    teacher = StaticTeacher.untaught(phi, features=4)
    assert torch.equal(teacher.along(torch.rand(3, 4)), phi.expand(3, 3))
    assert teacher.coefficients == 3 and teacher.features is None and not teacher.reads_progress
    (gradient,) = torch.autograd.grad(teacher.along(torch.rand(3, 4)).sum(), teacher.phi)
    assert gradient.tolist() == [3.0, 3.0, 3.0]


def test_it_is_a_copy_of_what_it_is_made_of():
    phi = torch.ones(2)
    teacher = StaticTeacher.from_tensors({"phi": phi})
    phi += 1
    assert teacher.phi.tolist() == [1.0, 1.0]


def test_bounds_hold():
    teacher = StaticTeacher(torch.tensor([-1.0, 0.5, 9.0]))
    teacher.bound(torch.tensor([0.0, 0.0, float("-inf")]), torch.tensor([1.0, 1.0, 2.0]))
    assert teacher.phi.tolist() == [0.0, 0.5, 2.0]


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({}, "needs the tensor 'phi', which is missing"),
        ({"phi": torch.ones(2, 2)}, r"has the shape \(2, 2\): wanted a float vector"),
        ({"phi": torch.ones(2, dtype=torch.int64)}, "wanted a float vector"),
        ({"phi": torch.ones(0)}, "wanted a float vector"),
        ({"phi": torch.tensor([1.0, float("inf")])}, "not all finite"),
    ],
)
def test_refuses_tensors_that_are_no_teacher(tensors, words):
    with pytest.raises(ValueError, match=words):
        StaticTeacher.from_tensors(tensors)
