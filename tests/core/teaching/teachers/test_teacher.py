"""What every kind of teacher promises, and how one is made by name."""

import pytest
import torch

from fairseq_dlf.core.teaching.teachers import TEACHERS, StaticTeacher, SteppingTeacher, untaught_teacher

NEUTRAL = torch.tensor([1.0, 0.0, 0.5])


@pytest.mark.parametrize("kind", TEACHERS)
def test_an_untaught_teacher_is_neutral_and_can_learn(kind):
    teacher = TEACHERS.make(kind, neutral=NEUTRAL, features=4)
    progress = torch.rand(6, 4)
    torch.testing.assert_close(teacher.along(progress), NEUTRAL.expand(6, 3))
    # A teacher that moves Φ by its gradient learns from its step, and none of the steps of a lesson depends on θ.
    stepping = isinstance(teacher, SteppingTeacher)
    learned = 1e3 * teacher.advance(teacher.start(), NEUTRAL)[0] if stepping else teacher.along(progress)
    gradients = torch.autograd.grad(learned.square().sum(), teacher.parameters())
    assert max(float(gradient.norm()) for gradient in gradients) > 0.1
    assert teacher.kind == kind and teacher.coefficients == 3 and teacher.features in (None, 4)


@pytest.mark.parametrize("kind", TEACHERS)
def test_a_teacher_is_made_again_from_its_tensors(kind):
    teacher = TEACHERS.make(kind, neutral=NEUTRAL, features=4)
    again = TEACHERS[kind].from_tensors(teacher.state_dict())
    progress = torch.rand(6, 4)
    assert torch.equal(teacher.along(progress), again.along(progress))


@pytest.mark.parametrize("kind", TEACHERS)
def test_a_run_in_parts_is_the_run_in_one(kind):
    teacher = TEACHERS.make(kind, neutral=NEUTRAL, features=4)
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter += torch.randn_like(parameter)
    progress, memory, parts = torch.rand(7, 4), teacher.start(), []
    for begin in (0, 3, 6):
        coefficients, memory = teacher(progress[begin : begin + 3], memory)
        parts.append(coefficients)
    torch.testing.assert_close(torch.cat(parts), teacher.along(progress))


def test_options_are_those_of_untaught():
    assert TEACHERS.options("attention") == {"keys": 5, "key_scale": 0.1} and TEACHERS.options("static") == {}
    made = untaught_teacher("attention", NEUTRAL, 4, {"keys": 3})
    assert made.values.shape == (3, 3)
    assert TEACHERS.make("attention(keys=2)", neutral=NEUTRAL, features=4).values.shape == (3, 2)
    assert isinstance(untaught_teacher("static", NEUTRAL, 4, {}), StaticTeacher)


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("oracle", {}, "no teacher named 'oracle': wanted one of attention, coefficient_controller, controller, lstm"),
        ("static", {"keys": 3}, "the teacher static has no option keys: its options are none"),
        ("attention", {"depth": 3}, "no option depth: its options are keys=5, key_scale=0.1"),
    ],
)
def test_unknown_kinds_and_options_are_named(kind, options, words):
    with pytest.raises(ValueError, match=words):
        untaught_teacher(kind, NEUTRAL, 4, options)
