"""The example of learnt class weights."""

import re

import pytest

from tests.examples.run import main_of, path_of

LINE = re.compile(r"weights ([\d.]+), ([\d.]+), ([\d.]+), dev [\d.]+, test accuracy ([\d.]+)%")


def test_the_rare_class_gets_more_weight_and_accuracy_on_balanced_data_rises(capsys):
    main_of("class_weights")(teacher_steps=9)
    found = [[float(number) for number in LINE.search(line).groups()] for line in capsys.readouterr().out.splitlines()]
    assert len(found) == 9
    common, other, rare, accuracy = zip(*found, strict=True)
    assert rare[0] == common[0] == other[0] == 1
    assert rare[-1] > 3 * max(common[-1], other[-1])
    assert accuracy[-1] > accuracy[0] + 5


def test_the_example_is_short():
    code = path_of("class_weights").read_text(encoding="utf-8").split('"""', 2)[2]
    assert len([line for line in code.splitlines() if line.strip()]) <= 45


@pytest.mark.parametrize("page", ["README.md", "docs/own-model.md"])
def test_a_page_shows_lines_of_the_example(page):
    code = {line.strip() for line in path_of("class_weights").read_text(encoding="utf-8").splitlines()}
    text = (path_of("class_weights").parents[1] / page).read_text(encoding="utf-8")
    shown = text.split("```python\ndef weighted", 1)[1].split("```", 1)[0].splitlines()[1:]
    assert len(shown) > 10
    assert [line for line in shown if line.strip() not in code] == []
