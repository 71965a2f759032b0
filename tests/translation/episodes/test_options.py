"""What options ask of an episode."""

from types import SimpleNamespace

import pytest

from fairseq_dlf.core.hypergradient.curvature import CentralDifference, Exact, ForwardDifference
from fairseq_dlf.core.hypergradient.schedules import Binomial, Checkpoints, Everything
from fairseq_dlf.core.hypergradient.storage import OnDevice, OnHost
from fairseq_dlf.core.hypergradient.update_rules import SGD, Adam
from fairseq_dlf.translation.episodes.config import DlfTeachingConfig
from fairseq_dlf.translation.episodes.options import curvature, trajectory_plan, update_rule


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
