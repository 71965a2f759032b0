"""Lines of fairseq-train's log, in both formats."""

import pytest

from fairseq_dlf.train_log import read_line

TIME = "2026-01-01 00:00:00 | INFO | "


LINES = [
    ('{"epoch": 1, "valid_bleu": "3.5", "valid_num_updates": "7"}', "valid", {"bleu": 3.5, "num_updates": 7}),
    ('{"train_loss": "nan", "train_lr": "0.1"}', "train", {"lr": 0.1}),
    ('{"loss": "2", "num_updates": "9"}', "train_inner", {"loss": 2, "num_updates": 9}),
    ("epoch 003 | valid on 'valid' subset | bleu 1.25 | num_updates 4", "valid", {"epoch": 3, "bleu": 1.25}),
    ("epoch 001:  5 / 9 loss=-0.5, ppl=1.3, num_updates=5", "train_inner", {"loss": -0.5, "num_updates": 5}),
    ('{"valid_bleu": "3.', "valid", {}),
]


@pytest.mark.parametrize(("text", "kind", "figures"), LINES)
def test_figures_are_read_by_name(text, kind, figures):
    found = read_line(f"{TIME}{kind} | {text}")
    assert found.kind == kind
    assert {name: value for name, value in found.figures.items() if name in figures} == figures
    assert not {"loss", "bleu"} & (set(found.figures) - set(figures))


@pytest.mark.parametrize("line", ["", TIME + "fairseq.trainer | bleu 3", "valid | bleu 3"])
def test_other_lines_are_none(line):
    assert read_line(line) is None
