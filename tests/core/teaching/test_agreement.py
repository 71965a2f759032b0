"""Several measures of one training, and how far their hypergradients agree."""

import math

import pytest
import torch

from fairseq_dlf.core.hypergradient.curvature import ForwardDifference
from fairseq_dlf.core.hypergradient.episode import EpisodePlan, MeasuredCotangent, run_episode
from fairseq_dlf.core.hypergradient.reverse import Hypergradient
from fairseq_dlf.core.hypergradient.schedules import Binomial
from fairseq_dlf.core.hypergradient.trajectory import TrajectoryPlan
from fairseq_dlf.core.support.errors import StateError
from fairseq_dlf.core.teaching.agreement import cosine, in_parts, move_along, random_signs, shared_episode
from fairseq_dlf.core.teaching.guidance import Guidance
from fairseq_dlf.core.teaching.teachers import StaticTeacher
from tests.core.teaching.toy import Nearness, ToyLesson

PHI = torch.tensor([0.5, -1.0], dtype=torch.float64)


class Size(Nearness):
    """Another measure: ‖ω‖² / (1 + ‖ω‖²)."""

    def __call__(self, params):
        size = params.square().sum()
        return size / (1 + size)


@pytest.mark.parametrize(
    "plan",
    [
        EpisodePlan(7),
        EpisodePlan(7, truncation=3, trajectory=TrajectoryPlan(Binomial(2)), cotangent_clip=0.1),
        EpisodePlan(7, curvature=ForwardDifference()),
    ],
    ids=["exact", "truncated", "differences"],
)
def test_a_shared_training_gives_the_bits_of_separate_episodes(plan):
    lesson, measures = ToyLesson(dtype=torch.float64), [Nearness(), Size()]
    shared = shared_episode(lesson, PHI, measures, plan)
    for measure, end in zip(measures, shared.ends, strict=True):
        source = Guidance(lesson, StaticTeacher(PHI), 1).source
        wanted = run_episode(lesson.student, lesson.rule, source, lesson.start, measure, plan)
        assert torch.equal(shared.params, wanted.final.params)
        assert end.value == wanted.measure_after
        assert wanted.hypergradient.coefficients.norm() > 0
        assert torch.equal(end.hypergradient.coefficients, wanted.hypergradient.coefficients)
        assert end.hypergradient.norms == wanted.hypergradient.norms
        assert end.measure_s >= 0
    assert shared.forward_s > 0 and shared.reverse_s > 0
    assert not lesson.observed


def test_a_student_that_diverges_is_an_error():
    with pytest.raises(StateError, match="the student's loss is not finite"):
        shared_episode(ToyLesson(rate=1e20), PHI.float(), [Nearness()], EpisodePlan(7))


def test_a_cotangent_that_is_not_finite_is_an_error():
    class Steep(Nearness):
        def value_and_cotangent(self, params):
            return MeasuredCotangent(1.0, torch.full_like(params, math.inf))

    with pytest.raises(StateError, match="the cotangent is not finite at step 7"):
        shared_episode(ToyLesson(), PHI.float(), [Nearness(), Steep()], EpisodePlan(7))


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        ([1.0, 2.0], [2.0, 4.0], 1.0),
        ([1.0, 2.0], [-1.0, -2.0], -1.0),
        ([1.0, 0.0], [0.0, 3.0], 0.0),
        ([3.0, 4.0], [1.0, 0.0], 0.6),
        ([0.0, 0.0], [1.0, 0.0], None),
    ],
)
def test_cosines(one, other, wanted):
    assert cosine(torch.tensor(one), torch.tensor(other)) == pytest.approx(wanted)


def test_parts_of_the_run_are_successive_and_add_up():
    rows = torch.arange(14.0).reshape(7, 2)
    parts = in_parts(Hypergradient(rows, torch.ones(1), [1.0]), 3)
    assert [part.tolist() for part in parts] == [[6.0, 9.0], [14.0, 16.0], [22.0, 24.0]]
    assert torch.equal(sum(parts), rows.sum(0))


@pytest.mark.parametrize("size", [3, 3000])
@pytest.mark.parametrize("share", [0.1, -0.2])
def test_no_coefficient_moves_by_more_than_its_share(size, share):
    phi = torch.full((size,), 2.0, dtype=torch.float64)
    direction = torch.linspace(-5, 3, size, dtype=torch.float64)
    step = move_along(direction, phi, share)
    assert step.abs().max().item() == pytest.approx(2 * abs(share))
    assert cosine(step, direction) == pytest.approx(math.copysign(1.0, share))


def test_random_signs_keep_the_size_of_every_entry():
    direction = torch.randn(1000)
    found = random_signs(direction, 3)
    assert torch.equal(found.abs(), direction.abs())
    assert 400 < int((found == direction).sum()) < 600
    assert torch.equal(found, random_signs(direction, 3)) and not torch.equal(found, random_signs(direction, 4))
