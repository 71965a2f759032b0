"""What options ask of an episode."""

from types import SimpleNamespace

import pytest

from fairseq_dlf.core.hypergradient.curvature import CentralDifference, Exact, ForwardDifference
from fairseq_dlf.core.hypergradient.schedules import Binomial, Checkpoints, Everything
from fairseq_dlf.core.hypergradient.storage import OnDevice, OnHost
from fairseq_dlf.core.hypergradient.update_rules import SGD, Adam
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.translation.episodes.config import DlfTeachingConfig
from fairseq_dlf.translation.episodes.options import (
    curvature,
    episode_plan,
    trajectory_plan,
    update_rule,
    with_graphs,
)


def options(**given):
    defaults = {
        "trajectory": "everything",
        "checkpoint_every": 0,
        "trajectory_memory": None,
        "trajectory_storage": "device",
        "trajectory_dir": None,
        "truncate": 0,
        "student_steps": 100,
    }
    return SimpleNamespace(**(defaults | given))


@pytest.mark.parametrize(
    ("given", "schedule"),
    [
        ({}, Everything()),
        ({"trajectory": "checkpoints"}, Checkpoints(10)),
        ({"trajectory": "checkpoints", "truncate": 25}, Checkpoints(5)),
        ({"trajectory": "checkpoints", "checkpoint_every": 7}, Checkpoints(7)),
        ({"trajectory_memory": "10MB"}, Binomial(9)),
    ],
)
def test_schedules(given, schedule):
    assert trajectory_plan(options(**given), record_bytes=1_100_000).schedule == schedule


def planned(**given):
    """The plan of 20 steps of 1,000 bytes, where a graph takes 5,000, and how often a graph was measured."""
    cfg = DlfTeachingConfig(**{"keep_graphs": True, "trajectory_memory": "60kB", "student_steps": 20, **given})
    plan, measured = episode_plan(cfg, curvature(cfg), 1000), []
    return with_graphs(cfg, plan, 1000, lambda: measured.append(1) or 5000), len(measured)


@pytest.mark.parametrize(
    ("given", "graphs"), [({}, 8), ({"truncate": 10}, 10), ({"truncate": 5}, 5), ({"trajectory_memory": "1MB"}, 20)]
)
def test_graphs_are_kept_in_the_memory_that_states_leave(given, graphs):
    plan, measured = planned(**given)
    assert (plan.trajectory.graphs, measured) == (graphs, 1)
    assert plan.trajectory.extra_steps(plan.first, plan.steps) == 0


@pytest.mark.parametrize("memory", ["19kB", "20kB", "24kB"])
def test_memory_without_room_for_a_graph_is_refused(memory):
    with pytest.raises(InputError, match="states of 20 steps .19.5 KiB.*hold none: give more, or keep no") as caught:
        planned(trajectory_memory=memory)
    assert caught.value.setting == "trajectory_memory"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"micro_batches": 2}, False),
        ({"micro_batches": 2, "student_clip_norm": 1.0}, True),
        ({"micro_batches": 2, "student_optimizer": "adamw"}, True),
        ({"student_optimizer": "adamw"}, False),
    ],
)
def test_micro_batches_keep_gradients_that_the_rule_reads(given, kept):
    assert curvature(DlfTeachingConfig(**given)).reuses_gradients == kept


def test_storages():
    assert trajectory_plan(options(), 1).make_storage is OnDevice
    assert trajectory_plan(options(trajectory_storage="host"), 1).make_storage is OnHost


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({}, SGD()),
        ({"student_momentum": 0.0}, SGD()),
        ({"student_optimizer": "momentum"}, SGD(0.9)),
        ({"student_optimizer": "momentum", "student_momentum": 0.7}, SGD(0.7)),
        ({"student_optimizer": "nesterov", "student_momentum": 0.5}, SGD(0.5, nesterov=True)),
        ({"student_optimizer": "adam"}, Adam((0.9, 0.999), 1e-8)),
        (
            {"student_optimizer": "adamw", "student_beta1": 0.8, "student_beta2": 0.7, "student_adam_eps": 1e-6},
            Adam((0.8, 0.7), 1e-6, decoupled=True),
        ),
        ({"student_optimizer": "adam", "student_adam_eps_root": 1e-6}, Adam(epsilon_root=1e-6)),
        ({"student_clip_norm": 2.0}, SGD(clip_norm=2.0)),
        ({"student_weight_decay": 0.1}, SGD(weight_decay=0.1)),
        ({"student_weight_decay": 0.1, "student_decoupled_decay": True}, SGD(weight_decay=0.1, decoupled=True)),
    ],
)
def test_rules(given, rule):
    cfg = DlfTeachingConfig(**given)
    found = update_rule(cfg)
    assert type(found) is type(rule) and vars(found) == vars(rule)


@pytest.mark.parametrize(
    ("given", "way"),
    [
        ({}, Exact()),
        ({"curvature": "central"}, CentralDifference()),
        ({"curvature": "central", "difference_step": 1e-3}, CentralDifference(1e-3)),
        ({"curvature": "forward"}, ForwardDifference()),
        ({"curvature": "forward", "difference_step": 1e-3}, ForwardDifference(1e-3)),
    ],
)
def test_the_way_to_products_is_the_one_named(given, way):
    found = curvature(DlfTeachingConfig(**given))
    assert type(found) is type(way) and vars(found) == vars(way)


def test_defaults_of_an_episode():
    found = DlfTeachingConfig()
    assert found.student_steps == 200
    assert (found.measure_sentences, found.greedy_sentences, found.progress_sentences) == (128, 0, 200)
    assert (found.episodes_per_epoch, found.progress_interval, found.truncate) == (10, 0, 0)
    assert (found.collapse_share, found.share_episodes, found.log_cotangent_every) == (0.5, False, 0)
