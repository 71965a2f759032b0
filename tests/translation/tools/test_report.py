"""A comparison as Markdown and JSON."""

import json

import pytest

pytest.importorskip("fairseq")

from fairseq_dlf.translation.tools.comparison import Comparison, RunScore, SystemScore  # noqa: E402
from fairseq_dlf.translation.tools.report import markdown, to_json  # noqa: E402

BASELINE = RunScore("a.txt", 20.0, 21.0, 20.1, (18.1, 22.1), None)
BETTER = RunScore("b.txt", 22.0, 23.0, 22.2, (20.2, 24.2), 0.0123)
OTHER = RunScore("c.txt", 24.0, 24.5, 24.1, (22.1, 26.1), 0.5)
COMPARISON = Comparison(
    1234,
    "nrefs:1|tok:13a",
    "nrefs:1|tok:none",
    [
        SystemScore("warm", True, [BASELINE], 20.0, None, 21.0, None),
        SystemScore("taught", False, [BETTER, OTHER], 23.0, 1.4142, 23.75, 1.0607),
    ],
)


def test_rows_hold_scores_interval_and_p_value():
    lines = markdown(COMPARISON).splitlines()
    assert lines[2:6] == [
        "| warm (baseline) | 20.00 | 18.10–22.10 |  | 21.00 |",
        "| taught, 2 seeds | 23.00 ± 1.41 | | | 23.75 ± 1.06 |",
        "| – b.txt | 22.00 | 20.20–24.20 | 0.012 | 23.00 |",
        "| – c.txt | 24.00 | 22.10–26.10 | 0.500 | 24.50 |",
    ]
    assert lines[7].startswith("1,234 sentences; p: paired bootstrap")
    assert lines[8:] == ["detokenised: `nrefs:1|tok:13a`", "tokenised: `nrefs:1|tok:none`"]


def test_json_holds_all_figures():
    stored = json.loads(to_json(COMPARISON))
    assert stored["sentences"] == 1234 and stored["signature"] == "nrefs:1|tok:13a"
    assert stored["systems"][1]["runs"][0]["interval_95"] == [20.2, 24.2]
    assert stored["systems"][0]["runs"][0]["p_value"] is None
