"""The example of learnt weights of examples with wrong labels."""

import re

import pytest

from tests.examples.run import main_of

pytest.importorskip("sklearn")


def test_wrong_labels_lose_their_weight_and_accuracy_rises(capsys):
    found = main_of("label_noise")(teacher_steps=12)
    last = capsys.readouterr().out.splitlines()[-2]
    right, wrong = map(float, re.search(r"right labels ([\d.]+), of wrong ones ([\d.]+)", last).groups())
    assert right > 1.4 and wrong < 0.6
    assert found["all, learnt weights"] > found["all, equal weights"] + 0.02
