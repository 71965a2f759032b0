"""What short trainings tell of a lesson."""

import pytest
import torch

from fairseq_dlf.core.hypergradient.curvature import Exact, ForwardDifference
from fairseq_dlf.core.hypergradient.unroll import unroll
from fairseq_dlf.core.teaching.foresight import constant_run, cost_of, metasmoothness, movement_agreement
from fairseq_dlf.core.teaching.guidance import Guidance
from fairseq_dlf.core.teaching.teachers import StaticTeacher
from tests.core.teaching.toy import ToyLesson


def test_a_constant_run_is_that_of_a_static_teacher():
    phi, lesson = torch.tensor([0.5, -1.0]), ToyLesson()
    guidance = Guidance(lesson, StaticTeacher(phi), 2)
    wanted = unroll(lesson.student, lesson.rule, guidance.source, lesson.start, lesson.updates)
    assert torch.equal(constant_run(lesson, phi).final.params, wanted.final.params)
    assert not lesson.observed


@pytest.mark.parametrize(
    ("places", "wanted"),
    [
        (([0.0, 0.0], [1.0, -3.0], [2.0, -4.0]), 1.0),
        (([0.0, 0.0], [1.0, -3.0], [0.0, -1.0]), -1.0),
        (([0.0, 0.0], [1.0, -3.0], [5.0, -1.0]), -0.5),
        (([0.0, 0.0], [1.0, -3.0], [5.0, -3.0]), 0.25),
        (([1.0, 1.0], [1.0, 1.0], [2.0, 2.0]), 0.0),
    ],
)
def test_moves_agree_by_their_signs_weighted_by_the_first(places, wanted):
    assert movement_agreement(*map(torch.tensor, places)) == pytest.approx(wanted)


def waves(forward, coefficients, batch):
    return (coefficients * torch.cos(5 * forward() + batch)).sum()


def test_a_smooth_student_is_smooth_and_a_chaotic_one_is_not():
    phi, lesson = torch.tensor([0.5, -1.0]), ToyLesson(updates=40, rate=1.0)
    assert metasmoothness(ToyLesson(), phi) == 1.0
    lesson.student = lesson.student.with_objective(waves)
    found = [metasmoothness(lesson, phi, seed) for seed in range(8)]
    assert min(found) < 0.0 and sum(found) / len(found) < 0.7
    assert found == [metasmoothness(lesson, phi, seed) for seed in range(8)]


@pytest.mark.parametrize("curvature", [Exact(), ForwardDifference()], ids=lambda way: type(way).__name__)
def test_costs_are_times_of_the_parts(curvature):
    cost = cost_of(ToyLesson(), torch.ones(2), curvature)
    assert all(0 < seconds < 1 for seconds in cost)
