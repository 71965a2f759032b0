"""Reports within documents, and that RESULTS.md says what the records say."""

from importlib import import_module

import pytest

from experiments.circumstances import ROOT
from experiments.command_line import TABLES
from experiments.publishing import END, publish, with_report
from experiments.report import body
from fairseq_dlf.core.support.errors import InputError

BEGIN = "<!-- report of small -->"


def test_the_part_between_the_marks_is_replaced_and_nothing_else(tmp_path):
    path = tmp_path / "text.md"
    path.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n<!-- report of other -->\n{END}\nlast\n")
    assert publish("new\ntable", "small", path)
    wanted = f"before\n{BEGIN}\n\nnew\ntable\n\n{END}\nafter\n<!-- report of other -->\n{END}\nlast\n"
    assert path.read_text() == wanted
    assert not publish("new\ntable", "small", path)
    assert path.read_text() == wanted


@pytest.mark.parametrize(
    ("text", "number"), [("no mark", 0), (f"{BEGIN}\n{END}\n{BEGIN}\n{END}\n", 2), (f"{END}\n{BEGIN}\nno end", 1)]
)
def test_a_document_without_one_place_is_refused_unchanged(tmp_path, text, number):
    path = tmp_path / "text.md"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"{number} of the marks .*report of small.*wanted one"):
        publish("new", "small", path)
    assert path.read_text() == text
    with pytest.raises(InputError, match="none.md cannot be read .*the marks of the report"):
        publish("new", "small", tmp_path / "none.md")


@pytest.mark.parametrize("name", TABLES)
def test_results_say_what_the_records_say(name):
    path, results = ROOT / "RESULTS.md", ROOT / "results"
    if not (results / name).is_dir():
        pytest.skip("has no records yet")
    table = import_module(f"experiments.{name}").TABLE
    text = path.read_text(encoding="utf-8")
    # Otherwise: python -m experiments NAME --report --into RESULTS.md
    assert with_report(text, body(table, results), name, path) == text
