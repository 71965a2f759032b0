"""Schedules against the best there is, and trajectories against the states that went in."""

from functools import cache

import pytest
import torch

from fairseq_dlf.core.hypergradient.schedules import Binomial, Checkpoints, Everything, sweeps
from fairseq_dlf.core.hypergradient.student import Gradients
from fairseq_dlf.core.hypergradient.trajectory import Past, TrajectoryPlan
from fairseq_dlf.core.hypergradient.update_rules import StudentState

SCHEDULES = [Everything(), Checkpoints(1), Checkpoints(4), Checkpoints(99), *(Binomial(s) for s in (1, 2, 3, 7, 40))]


@cache
def fewest_steps(steps, slots):
    """Steps advanced by the best schedule when the way forward counts too, by trying every place."""
    if steps == 1:
        return 0
    if slots == 1:
        return steps * (steps - 1) // 2
    return min(m + fewest_steps(steps - m, slots - 1) + fewest_steps(m, slots) for m in range(1, steps))


@pytest.mark.parametrize("slots", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("steps", [1, 2, 5, 17, 40])
def test_binomial_recomputes_as_little_as_can_be(steps, slots):
    """The way forward reaches the last step once for free; the best schedule may start from there."""
    extra = sum(sweep.extra_steps for sweep in sweeps(Binomial(slots), 0, steps))
    gap = 1 + max(sweep.extra_steps for sweep in sweeps(Binomial(slots), 0, steps) if sweep.stop == steps)
    assert extra <= fewest_steps(steps, slots) - (steps - 1) + gap - 1


def test_binomial_reaches_256_steps_with_22_states_at_one_step_each():
    assert TrajectoryPlan(Binomial(22)).extra_steps(0, 256) < 256
    assert TrajectoryPlan(Binomial(256)).extra_steps(0, 256) == 0
    assert TrajectoryPlan(Everything()).extra_steps(0, 256) == 0


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
@pytest.mark.parametrize(("first", "steps"), [(0, 1), (0, 13), (5, 13), (12, 13), (3, 40)])
@pytest.mark.parametrize("keeps_gradients", [False, True])
def test_every_state_comes_back(schedule, first, steps, keeps_gradients):
    """The state before step t is (t, 10t): a replay that is given another state fails."""
    trajectory = TrajectoryPlan(schedule).open(first, steps, keeps_gradients)

    def state(t):
        return StudentState(torch.tensor([float(t)]), (torch.tensor([10.0 * t]),))

    def gradients(t):
        return Gradients(torch.tensor(0.0), torch.tensor([0.5 * t]), torch.tensor([0.25 * t]))

    def replay(t, past):
        assert past.state == state(t)
        replayed.append(t)
        return gradients(t), state(t + 1)

    replayed, held = [], []
    for t in range(steps):
        trajectory.record(t, Past(state(t), gradients(t) if keeps_gradients else None))
    for wanted, (t, past) in zip(range(steps - 1, first - 1, -1), trajectory.backward(replay), strict=True):
        assert (t, past.state) == (wanted, state(wanted))
        assert past.gradients is None or past.gradients.params == gradients(t).params
        held.append(len(trajectory._storage._records))
    assert len(replayed) == TrajectoryPlan(schedule).extra_steps(first, steps)
    assert max(held) <= schedule.slots(steps - first)


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (lambda: Checkpoints(0), "every is 0, but must be at least 1"),
        (lambda: Binomial(0), "most is 0, but must be at least 1"),
    ],
)
def test_refuses_schedules_that_keep_nothing(schedule, words):
    with pytest.raises(ValueError, match=words):
        schedule()
