"""Trajectories against the states that went in."""

import pytest
import torch

from fairseq_dlf.core.hypergradient.schedules import Binomial, Checkpoints, Everything
from fairseq_dlf.core.hypergradient.storage import OnHost
from fairseq_dlf.core.hypergradient.student import Gradients
from fairseq_dlf.core.hypergradient.trajectory import Past, TrajectoryPlan, record_bytes
from fairseq_dlf.core.hypergradient.update_rules import SGD, Adam, StudentState
from fairseq_dlf.core.support.errors import InputError

SCHEDULES = [Everything(), Checkpoints(1), Checkpoints(4), Checkpoints(99), *(Binomial(s) for s in (1, 2, 3, 7, 40))]


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


def bytes_kept(trajectory, rule, parameters, coefficients):
    """What one step takes of a trajectory, measured on tensors."""
    params, phi = torch.zeros(parameters), torch.zeros(coefficients)
    gradients = Gradients(torch.tensor(0.0), params.clone(), phi) if trajectory.keeps_gradients else None
    trajectory.record(0, Past(rule.initial(params), gradients))
    return sum(tensor.nbytes for tensor in trajectory._storage.get(0))


@pytest.mark.parametrize("rule", [SGD(), SGD(momentum=0.9), Adam()], ids=str)
@pytest.mark.parametrize("keeps_gradients", [False, True])
def test_the_bytes_of_a_record_are_known_before_there_is_one(rule, keeps_gradients):
    trajectory = TrajectoryPlan().open(0, 1, keeps_gradients)
    wanted = bytes_kept(trajectory, rule, parameters=11, coefficients=5)
    assert record_bytes(rule, 11, 5, keeps_gradients) == wanted > 0
    # Larger than any memory: nothing is allocated.
    assert record_bytes(SGD(momentum=0.9), 10**13) == 8 * 10**13


def test_a_plan_within_memory_keeps_as_many_steps_as_fit():
    plan = TrajectoryPlan.within(1000, 300, OnHost)
    assert plan == TrajectoryPlan(Binomial(3), OnHost)
    assert TrajectoryPlan.within(300, 300) == TrajectoryPlan(Binomial(1))


def test_memory_for_less_than_one_step_is_refused():
    with pytest.raises(InputError, match=r"is 2\.9 KiB, but one kept step takes 4\.9 KiB.*better for ten") as caught:
        TrajectoryPlan.within(3000, 5000)
    assert caught.value.setting == "trajectory_memory"


def test_a_plan_says_what_is_kept_and_recomputed():
    assert "trajectory: 256 of 256 steps are kept" in TrajectoryPlan(Binomial(300)).describe(100, 356, 2**20)
    found = TrajectoryPlan(Binomial(22)).describe(100, 356, 2**20)
    extra = TrajectoryPlan(Binomial(22)).extra_steps(100, 356)
    assert found == (
        "trajectory: 22 of 256 steps are kept at a time, 1.0 MiB each, 22.0 MiB in all; "
        f"{extra} training steps are computed again"
    )


def never():
    raise AssertionError("there is no room for a graph to be measured")


@pytest.mark.parametrize(
    ("memory", "horizon", "measured", "graphs"),
    [
        (10_000, 10, lambda: 1000, 7),
        (10_000, 10, lambda: 1001, 6),
        (10**9, 10, lambda: 1000, 10),
        (10_000, 10, lambda: 7001, 0),
        (10_000, 33, lambda: 101, 0),
        (9_900, 33, never, 0),
    ],
)
def test_graphs_have_what_the_states_of_all_steps_leave(memory, horizon, measured, graphs):
    plan = TrajectoryPlan.within(memory, 300).with_graphs(memory, 300, horizon, measured)
    assert plan == TrajectoryPlan(Binomial(memory // 300), graphs=graphs)
    assert plan.extra_steps(0, horizon) == 0 or horizon == 33 and memory == 9_900


def test_a_plan_says_how_many_graphs_are_kept():
    plan = TrajectoryPlan(Binomial(22), graphs=6)
    assert "trajectory: 28 of 256 steps are kept at a time" in plan.describe(100, 356, 2**20)
    assert plan.describe(100, 356, 2**20).endswith("again; the graphs of the last 6 steps are kept as well")
    assert plan.extra_steps(100, 356) == TrajectoryPlan(Binomial(22)).extra_steps(100, 350)
    assert "last 3 steps" in plan.describe(100, 103, 2**20) and plan.extra_steps(100, 103) == 0


def test_a_negative_number_of_graphs_is_refused():
    with pytest.raises(ValueError, match="graphs is -1, but must not be negative"):
        TrajectoryPlan(graphs=-1)
