"""Settings of students: checks, the paper's values, devices."""

import dataclasses

import pytest

from fairseq_dlf.images.students.settings import StudentSettings, chosen_device, paper_settings


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch_size": 0}, "batch_size is 0, but must be positive"),
        ({"learning_rate": -1.0}, "learning_rate is -1.0, but must be positive"),
        ({"epochs": 0.0}, "epochs is 0.0"),
        ({"progress_points": 0}, "progress_points is 0"),
        ({"progress_images": -1}, "progress_images is -1, but must be 0"),
        ({"milestones": (0.7, 0.5)}, "must be ascending shares of the run"),
        ({"milestones": (40.0, 60.0)}, "must be ascending shares of the run"),
        ({"momentum": 1.0}, "momentum is 1.0"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1"),
    ],
)
def test_wrong_values_are_named(student, changes, words):
    with pytest.raises(ValueError, match=words):
        student(**changes)


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
    with pytest.raises(ValueError, match="--device nonsense cannot be used"):
        chosen_device("nonsense")
