"""What short trainings tell of a lesson."""

import pytest
import torch

from fairseq_dlf.core.hypergradient.curvature import Exact, ForwardDifference
from fairseq_dlf.core.hypergradient.episode import EpisodePlan
from fairseq_dlf.core.hypergradient.schedules import Binomial
from fairseq_dlf.core.hypergradient.trajectory import TrajectoryPlan
from fairseq_dlf.core.hypergradient.unroll import unroll
from fairseq_dlf.core.teaching.foresight import (
    Cost,
    constant_run,
    cost_of,
    first_point,
    metasmoothness,
    movement_agreement,
    step_cost,
)
from fairseq_dlf.core.teaching.guidance import Guidance
from fairseq_dlf.core.teaching.teachers import StaticTeacher
from tests.core.teaching.toy import ToyLesson


def test_a_constant_run_is_that_of_a_static_teacher():
    phi, lesson = torch.tensor([0.5, -1.0]), ToyLesson()
    guidance = Guidance(lesson, StaticTeacher(phi), 2)
    wanted = unroll(lesson.student, lesson.rule, guidance.source, lesson.start, lesson.updates)
    assert torch.equal(constant_run(lesson, phi, 7).final.params, wanted.final.params)
    assert not lesson.observed


def test_a_constant_run_may_be_the_first_part_of_the_lesson():
    phi, lesson = torch.tensor([0.5, -1.0]), ToyLesson(rate=0.1)
    whole, part = (constant_run(lesson, phi, updates) for updates in (7, 3))
    assert torch.equal(part.losses, whole.losses[:3])


def test_a_first_point_is_that_of_the_first_update():
    phi, lesson = torch.tensor([0.5, -1.0]), ToyLesson()
    point = first_point(lesson, phi)
    assert torch.equal(point.batch, lesson.targets[0]) and point.seed == 0
    assert torch.equal(point.params, lesson.start.params) and point.coefficients is phi


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


def trained(lesson):
    return lambda phi: constant_run(lesson, phi, lesson.updates).final.params


def test_what_is_linear_in_phi_is_perfectly_smooth():
    assert metasmoothness(lambda phi: 3 * phi - 1, torch.tensor([0.5, -1.0, 2.0])) == pytest.approx(1.0)


def test_phi_moves_by_a_tenth_of_its_size_in_random_directions():
    moved, phi = [], torch.tensor([0.5, -1.0, 3.0, 0.0])
    metasmoothness(lambda phi: moved.append(phi) or phi, phi)
    assert torch.equal(moved[0], phi) and torch.allclose(moved[2] - moved[1], moved[1] - phi)
    assert torch.allclose((moved[1] - phi).abs(), torch.full((4,), 0.1 * 1.125))


def waves(forward, coefficients, batch):
    return (coefficients * torch.cos(5 * forward() + batch)).sum()


def test_a_smooth_student_is_smooth_and_a_chaotic_one_is_not():
    phi, lesson = torch.tensor([0.5, -1.0]), ToyLesson(updates=40, rate=1.0)
    assert metasmoothness(trained(ToyLesson()), phi) == 1.0
    lesson.student = lesson.student.with_objective(waves)
    found = [metasmoothness(trained(lesson), phi, seed) for seed in range(8)]
    assert min(found) < 0.0 and sum(found) / len(found) < 0.7
    assert found == [metasmoothness(trained(lesson), phi, seed) for seed in range(8)]


@pytest.mark.parametrize("seed", range(4))
def test_what_a_move_would_carry_below_its_bound_moves_up(seed):
    tried = []
    phi, low = torch.tensor([0.5, -1.0, 0.0, 0.02, 9.0]), torch.tensor([-torch.inf, -torch.inf, 0.0, 0.0, 0.0])
    for bounds in (None, low):
        metasmoothness(lambda phi: tried.append(phi) or phi, phi, seed, bounds)
    free, bounded = torch.stack(tried[:3]), torch.stack(tried[3:])
    torch.testing.assert_close(bounded[:, 2:4], phi[2:4] + (free[:, 2:4] - phi[2:4]).abs())
    assert torch.equal(free[:, [0, 1, 4]], bounded[:, [0, 1, 4]]) and (free[2] != phi).all()


@pytest.mark.parametrize("curvature", [Exact(), ForwardDifference()], ids=lambda way: type(way).__name__)
def test_costs_are_times_of_the_parts(curvature):
    cost = cost_of(ToyLesson(), torch.ones(2), curvature)
    assert all(0 < seconds < 1 for seconds in cost)
    assert cost_of(ToyLesson(), torch.ones(2), None).reverse_s == 0
    assert all(0 < seconds < 1 for seconds in step_cost(ToyLesson(), torch.ones(2), curvature))


def test_an_episode_costs_its_updates_observations_measures_and_what_is_computed_again():
    cost = Cost(update_s=2.0, observe_s=1000.0, reverse_s=5.0, measure_s=100.0)
    assert cost.forward_s(ToyLesson(updates=7), observed=False) == 7 * 2.0 + 100.0
    assert cost.forward_s(ToyLesson(updates=7, interval=3), observed=True) == 7 * 2.0 + 3 * 1000.0 + 100.0
    assert cost.back_s(EpisodePlan(7)) == 7 * 5.0 + 100.0
    assert cost.back_s(EpisodePlan(7, truncation=3)) == 3 * 5.0 + 100.0
    # A step whose graph is kept is computed once.
    kept = TrajectoryPlan(graphs=4)
    assert cost.back_s(EpisodePlan(7, trajectory=kept)) == 7 * 5.0 - 4 * 2.0 + 100.0
    assert cost.back_s(EpisodePlan(7, truncation=3, trajectory=kept)) == 3 * 5.0 - 3 * 2.0 + 100.0
    # With one place for a state, step t is reached by t updates from the first.
    one = EpisodePlan(7, trajectory=TrajectoryPlan(Binomial(1)))
    assert cost.back_s(one) == 7 * 5.0 + (6 + 5 + 4 + 3 + 2 + 1) * 2.0 + 100.0
