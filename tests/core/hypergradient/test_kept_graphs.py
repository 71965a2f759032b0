"""Episodes that keep the graphs of their last steps: the same bits, fewer runs of the student, memory that is freed."""

import gc

import pytest
import torch
from torch import nn

from fairseq_dlf.core.hypergradient.curvature import CentralDifference, Exact, ForwardDifference
from fairseq_dlf.core.hypergradient.episode import EpisodePlan, run_episode
from fairseq_dlf.core.hypergradient.reverse import reverse_several
from fairseq_dlf.core.hypergradient.schedules import Binomial, Everything
from fairseq_dlf.core.hypergradient.storage import OnDisk, OnHost
from fairseq_dlf.core.hypergradient.student import Point, Student
from fairseq_dlf.core.hypergradient.trajectory import TrajectoryPlan
from fairseq_dlf.core.hypergradient.unroll import Step, unroll
from fairseq_dlf.core.hypergradient.update_rules import SGD, Adam
from tests.core.hypergradient.conftest import BatchMeasure
from tests.core.hypergradient.ladder import RULES, SCHEDULES, by_autograd, by_reverse, relative_error

STEPS = 6
ALL = {"trajectory": TrajectoryPlan(graphs=STEPS), "collapse_share": 0.0}


def same(found, wanted):
    assert wanted.coefficients.norm() > 0
    assert torch.equal(found.coefficients, wanted.coefficients)
    assert torch.equal(found.initial_params, wanted.initial_params)
    assert found.norms == wanted.norms


# The same bits ----------------------------------------------------------------------


@pytest.mark.parametrize("graphs", [1, 4, 99])
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("arch", ["lstm", "attention"])
def test_the_hypergradient_is_the_same_to_the_last_bit(episode, arch, rule, graphs):
    """With dropout, whose masks are drawn once where a graph is kept."""
    made = episode(arch, steps=STEPS)
    found = by_reverse(made, rule, Everything(), graphs=graphs)
    same(found, by_reverse(made, rule, Everything()))
    assert relative_error(found.coefficients, by_autograd(made, rule)) <= 1e-10


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("truncation", [0, 2, 4])
def test_steps_without_a_graph_are_recomputed_as_ever(episode, schedule, truncation):
    made, rule = episode("lstm", steps=STEPS), RULES["adamw"]
    wanted = by_reverse(made, rule, schedule, truncation)
    same(by_reverse(made, rule, schedule, truncation, graphs=3), wanted)


@pytest.mark.parametrize("make_storage", [OnHost, lambda *room: OnDisk(*room, folder=".")], ids=["host", "disk"])
def test_states_elsewhere_stay_there(episode, make_storage, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made, rule = episode("lstm", steps=STEPS), RULES["momentum"]
    wanted = by_reverse(made, rule, Everything())
    same(by_reverse(made, rule, Everything(), make_storage=make_storage, graphs=2), wanted)


@pytest.mark.parametrize("rule", [RULES["sgd"], RULES["adamw"]], ids=["sgd", "adamw"])
def test_several_cotangents_go_through_the_same_graphs(episode, rule):
    made = episode("lstm", steps=STEPS)
    cotangents = [torch.randn_like(made.student.flat_params()) for _ in range(3)]

    def back(graphs):
        trajectory = TrajectoryPlan(graphs=graphs).open(0, STEPS)
        start = rule.initial(made.student.flat_params())
        unroll(made.student, rule, made.source, start, STEPS, trajectory=trajectory)
        return reverse_several(made.student, rule, made.source, trajectory, Exact(), cotangents)

    for found, wanted in zip(back(4), back(0), strict=True):
        same(found, wanted)


def ran(normalised, rule, graphs, schedule=None):
    student, source, measure, _ = normalised
    plan = EpisodePlan(STEPS, trajectory=TrajectoryPlan(schedule or Everything(), graphs=graphs), collapse_share=0.0)
    return run_episode(student, rule, source, rule.initial(student.flat_params()), measure, plan)


@pytest.mark.parametrize("graphs", [2, STEPS])
def test_batch_normalisation_ends_with_the_same_figures(normalised, graphs):
    rule = SGD(momentum=0.9)
    found, wanted = (ran(normalised, rule, number) for number in (graphs, 0))
    same(found.hypergradient, wanted.hypergradient)
    assert torch.equal(found.losses, wanted.losses) and torch.equal(found.final.params, wanted.final.params)
    assert wanted.buffers.keys() == found.buffers.keys() and wanted.buffers
    for name, buffer in wanted.buffers.items():
        assert torch.equal(found.buffers[name], buffer), name


class Growing(nn.Module):
    """A layer whose factor, a buffer, grows with each forward pass."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(5, 3)
        self.register_buffer("factor", torch.ones(3))

    def forward(self, inputs):
        self.factor.add_(0.1)
        return (self.linear(inputs) * self.factor).tanh()


def test_each_graph_has_the_buffers_of_its_step():
    torch.manual_seed(2)
    module = Growing().double()
    student = Student(module, lambda forward, phi, batch: (phi * forward(batch).square()).mean())
    batches = torch.randn(STEPS, 8, 5, dtype=torch.float64)
    phis = 1 + torch.rand(STEPS, 3, dtype=torch.float64)
    measure, rule = BatchMeasure(student, torch.randn(16, 5, dtype=torch.float64)), SGD()
    plan = EpisodePlan(STEPS, trajectory=TrajectoryPlan(graphs=STEPS), collapse_share=0.0)
    start = rule.initial(student.flat_params())
    found = run_episode(student, rule, lambda t: Step(phis[t], batches[t], 0, 0.3), start, measure, plan)
    leaf, params, buffers = phis.clone().requires_grad_(), student.flat_params().requires_grad_(), student.buffers()
    for t in range(STEPS):
        buffers = {name: buffer.clone() for name, buffer in buffers.items()}
        pieces, point = student.pieces(params), Point(params, leaf[t], batches[t], 0)
        (gradient,) = torch.autograd.grad(student.loss_of_pieces(pieces, point, buffers), params, create_graph=True)
        params = params - 0.3 * gradient
    (wanted,) = torch.autograd.grad(measure(params), leaf)
    assert torch.equal(found.buffers["factor"], buffers["factor"]) and float(buffers["factor"][0]) > 1.5
    assert relative_error(found.hypergradient.coefficients, wanted) <= 1e-12


@pytest.mark.parametrize("rule", [SGD(), Adam(epsilon=1e-3)], ids=["sgd", "adam"])
def test_workers_sum_the_same_tensors_in_the_same_order(episode, rule):
    made = episode("lstm", steps=STEPS)
    plain, summed = made.student, []

    def doubled(tensor):
        summed.append(tuple(tensor.shape))
        return 2 * tensor

    results, calls = [], []
    for graphs in (0, 3):
        student = Student(plain.module, plain.objective, plain.forward_context, combine=doubled)
        results.append(by_reverse(made._replace(student=student), rule, Everything(), graphs=graphs))
        calls.append(summed[:])
        summed.clear()
    same(*results)
    assert calls[0] == calls[1] and len(calls[0]) >= 4 * STEPS


def test_the_signature_does_not_tell_of_graphs():
    assert EpisodePlan(5).signature == EpisodePlan(5, trajectory=TrajectoryPlan(graphs=5)).signature


# Fewer runs of the student ------------------------------------------------------------


@pytest.mark.parametrize(
    ("graphs", "schedule", "truncation", "runs"),
    [
        (0, Everything(), 0, 2 * STEPS),
        (2, Everything(), 0, 2 * STEPS - 2),
        (99, Everything(), 0, STEPS),
        (99, Everything(), 2, STEPS),
        # Three steps are left to one kept state: two and one of them are run again.
        (3, Binomial(1), 0, 2 * STEPS - 3 + 2 + 1),
    ],
)
def test_a_step_whose_graph_is_kept_is_run_once(episode, graphs, schedule, truncation, runs):
    made = episode("lstm", steps=STEPS)
    plain, count = made.student, []
    counted = Student(plain.module, lambda *given: count.append(1) or plain.objective(*given), plain.forward_context)
    # The measure has a student of its own.
    by_reverse(made._replace(student=counted), SGD(), schedule, truncation, graphs=graphs)
    assert len(count) == runs


# Memory -------------------------------------------------------------------------------


class Saved:
    """A tensor that autograd saves, counted while it lives."""

    alive = 0

    def __init__(self, tensor):
        # The tensor itself may know its node: the two would hold each other for ever.
        self.tensor = tensor.detach()
        Saved.alive += 1

    def __del__(self):
        Saved.alive -= 1


@pytest.fixture
def saved():
    """Counts what autograd saves, with the garbage collector off: graphs go as soon as nobody holds them."""
    gc.collect()
    gc.disable()
    Saved.alive = 0
    with torch.autograd.graph.saved_tensors_hooks(Saved, lambda kept: kept.tensor):
        yield Saved
    gc.enable()


class Counting:
    """Watches how much is saved after each step of both passes."""

    def __init__(self):
        self.forward_alive, self.reverse_alive = [], {}

    def forward(self, done):
        self.forward_alive.append(Saved.alive)

    def reverse(self, step, norm):
        self.reverse_alive[step] = Saved.alive


@pytest.mark.parametrize("rule", [SGD(), RULES["adamw"]], ids=["sgd", "adamw"])
def test_a_graph_is_freed_when_its_step_has_been_reversed(normalised, saved, rule):
    student, source, measure, _ = normalised
    plan, watch = EpisodePlan(STEPS, trajectory=TrajectoryPlan(graphs=4), collapse_share=0.0), Counting()
    start = rule.initial(student.flat_params())
    run_episode(student, rule, source, start, measure, plan, watch=watch)
    size = watch.forward_alive[-1] // 4
    assert size > 5
    assert watch.forward_alive == [0, 0, size, 2 * size, 3 * size, 4 * size]
    left = watch.reverse_alive
    # What no product has used goes with the next step.
    assert all(left[t] - left[t - 1] == size for t in (5, 4, 3)) and left[2] < size
    assert saved.alive == 0


class Broken(RuntimeError):
    pass


@pytest.mark.parametrize("breaks_at", [("forward", 5), ("reverse", 3)], ids=str)
def test_graphs_are_freed_when_an_episode_fails(normalised, saved, breaks_at):
    student, source, measure, _ = normalised
    alive = []

    def broken(t):
        alive.append(saved.alive)
        if (("reverse" if len(alive) > STEPS else "forward"), t) == breaks_at:
            raise Broken
        return source(t)

    with pytest.raises(Broken) as caught:
        run_episode(student, SGD(), broken, SGD().initial(student.flat_params()), measure, EpisodePlan(STEPS, **ALL))
    size = alive[1]
    assert alive[-1] >= 3 * size > 0
    # The error knows the frames in which it was raised, and these the step that they were at.
    assert saved.alive <= size
    del caught
    gc.collect()
    assert saved.alive == 0


@pytest.mark.parametrize("limits", [{"collapse_floor": 2.0}, {"growth_limit": 1e-9}], ids=str)
def test_graphs_are_freed_when_an_episode_collapses(normalised, saved, limits):
    student, source, measure, _ = normalised
    plan, watch = EpisodePlan(STEPS, **{**ALL, **limits}), Counting()
    found = run_episode(student, SGD(), source, SGD().initial(student.flat_params()), measure, plan, watch=watch)
    assert found.collapse and watch.forward_alive[-1] > 0
    assert saved.alive == 0


# What is refused ----------------------------------------------------------------------


@pytest.mark.parametrize("way", [CentralDifference(), ForwardDifference()], ids=str)
def test_products_by_differences_keep_no_graphs(way):
    with pytest.raises(ValueError, match="graphs of 6 steps.*differences use none.*take exact products") as caught:
        EpisodePlan(STEPS, curvature=way, **ALL)
    assert caught.value.setting == "graphs"


def test_micro_batches_keep_no_graphs(episode):
    made = episode("lstm", steps=STEPS)
    cut = made._replace(student=made.student.in_parts(lambda batch: batch.tensor_split(2)))
    with pytest.raises(ValueError, match="cut into 2 micro-batches.*keep no graphs, or leave batches whole") as caught:
        by_reverse(cut, SGD(), Everything(), graphs=1)
    assert caught.value.setting == "graphs"
