"""The choice table in Markdown."""

from experiments.choice.report import report
from tests.experiments.choice.made_pairs import pair


def test_every_pair_has_a_line_and_its_control_another():
    lines = report([pair(), pair("bins", "reweighted_bleu", None)]).splitlines()
    assert lines[0] == "## Choice of measure and form"
    own = "| diagonal (1,234) | sampled_bleu | 0.25 | – 0.10 0.30 | +1.100 | +0.900 | +1.000 | +0.38 | +0.06 to +0.69 "
    assert own + "| 10.0 | 21.2 | 3.0 |" in lines
    control = (
        "| diagonal (1,234) | random signs, sampled_bleu |  |  | +1.100 | +0.900 | +1.000 | +0.38 | +0.06 to +0.69 "
    )
    assert control + "|  |  |  |" in lines
    assert any(line.startswith("| bins (1,234) | reweighted_bleu | – | ") for line in lines)


def test_every_step_has_a_line_for_both_sides():
    lines = report([pair()]).splitlines()
    assert "| diagonal | sampled_bleu | +0.1 | 0.050 | +1.100 | +0.900 | +1.200 | +0.50 | +0.10 to +0.90 |" in lines
    assert "| diagonal | sampled_bleu | -0.2 | 0.100 | -1.100 | -0.900 | -0.800 | -0.25 | -0.70 to +0.20 |" in lines
    assert sum(line.startswith("| diagonal | random signs") for line in lines) == 2


def test_the_footnotes_tell_what_it_holds_for():
    text = report([pair()])
    assert "- greedy BLEU on unseen sentences, by neutral Φ: `diagonal: 30.00 → 30.50`" in text
    assert "- sentences (half, half, unseen): `8, 8, 20`" in text
    assert "- growth of the cotangent: `sampled_bleu, diagonal: 2.5`" in text
    assert "- commits: `abc`" in text and "`a processor, 2 cores, 1 threads a run, torch 2.0`" in text
