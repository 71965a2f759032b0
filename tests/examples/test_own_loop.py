"""The example of a loop of one's own."""

import runpy
from pathlib import Path

import fairseq_dlf

EXAMPLE = Path(fairseq_dlf.__file__).parents[1] / "examples" / "own_loop.py"


def test_learnt_weights_raise_the_accuracy_on_balanced_data(capsys):
    accuracies = runpy.run_path(str(EXAMPLE))["main"](teacher_steps=8)
    assert accuracies[-1] > accuracies[0] + 0.05
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8 and "test accuracy" in lines[0]
    rare, common = (float(lines[-1].rsplit("weights ", 1)[1].split(", ")[place]) for place in (2, 0))
    assert rare > 1.5 * common


def test_the_example_is_short():
    code = EXAMPLE.read_text(encoding="utf-8").split("def main")[1]
    assert len(code.splitlines()) <= 35
