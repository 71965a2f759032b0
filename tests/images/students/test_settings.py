"""Settings of students: checks, the paper's values, devices."""

import dataclasses
import math
import os

import pytest
import torch

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.images.students.settings import StudentSettings, chosen_device, paper_settings, use_threads


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch_size": 0}, "batch_size is 0, but must be positive"),
        ({"learning_rate": -1.0}, "learning_rate is -1.0, but must be positive"),
        ({"epochs": 0.0}, "epochs is 0.0"),
        ({"progress_points": 0}, "progress_points is 0"),
        ({"progress_images": -1}, "progress_images is -1, but must not be negative"),
        ({"milestones": (0.7, 0.5)}, "must be ascending shares of the run"),
        ({"milestones": (40.0, 60.0)}, "must be ascending shares of the run"),
        ({"momentum": 1.0}, "momentum is 1.0"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1"),
        ({"weight_decay": math.inf}, "weight_decay is inf"),
        ({"learning_rate": math.nan}, "learning_rate is nan"),
        ({"epochs": math.inf}, "epochs is inf"),
    ],
)
def test_wrong_values_are_named(student, changes, words):
    with pytest.raises(ValueError, match=words):
        student(**changes)


@pytest.mark.parametrize(
    ("data", "model", "wanted"),
    [
        ("mnist", "mlp", {"batch_size": 20, "learning_rate": 0.01, "epochs": 20.0}),
        ("mnist", "lenet", {"batch_size": 500, "learning_rate": 0.01, "epochs": 20.0}),
        ("digits", "mlp", {"batch_size": 20, "learning_rate": 0.05, "epochs": 30.0}),
        (
            "cifar100",
            "resnet-8",
            {
                "batch_size": 128,
                "learning_rate": 0.1,
                "weight_decay": 1e-4,
                "epochs": 80.0,
                "milestones": (0.5, 0.75),
            },
        ),
    ],
)
def test_the_settings_of_the_paper_are_these(data, model, wanted):
    assert paper_settings(data, model) == wanted


def test_the_paper_has_settings_for_each_of_its_models():
    assert paper_settings("mnist", "mlp") | {"batch_size": 500} == paper_settings("mnist", "lenet")
    assert StudentSettings("resnet-8", **paper_settings("cifar10", "resnet-8")).milestones == (0.5, 0.75)


def test_every_setting_is_in_the_signature(student):
    plain = student()
    changes = {"batch_size": 5, "learning_rate": 0.1, "momentum": 0.5, "weight_decay": 0.1, "epochs": 1.0}
    for name, value in {**changes, "milestones": (0.5,)}.items():
        assert dataclasses.replace(plain, **{name: value}).signature != plain.signature, name


def test_a_device_that_is_not_there_is_named():
    assert chosen_device("cpu").type == "cpu"
    for name in ("nonsense", "meta", "cuda:99"):
        with pytest.raises(InputError, match=f"the device {name} cannot be used .*: pass cpu or leave it out") as error:
            chosen_device(name)
        assert error.value.setting == "device"


def test_threads_have_a_bound(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    used = []
    monkeypatch.setattr(torch, "set_num_threads", used.append)
    use_threads(8)
    for count in (0, 9, 100_000):
        with pytest.raises(InputError, match=f"threads is {count}, but must lie between 1 and 8") as error:
            use_threads(count)
        assert error.value.setting == "threads"
    assert used == [8]
