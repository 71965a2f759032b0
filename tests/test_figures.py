"""How figures are written: formats, fonts, labels, and what stands in the way."""

import sys
from pathlib import Path

import pytest

from fairseq_dlf.core.support.errors import InputError, StateError
from fairseq_dlf.figures import COLOURS, labels_of, line_style, new_figure, require_matplotlib, write_figures


def titled():
    figure = new_figure(2.0, 1.0)
    figure.suptitle("Φ along s")
    return figure


def test_fonts_are_embedded_as_truetype(tmp_path):
    (path,) = write_figures([("one", titled())], tmp_path, ["pdf"])
    content = path.read_bytes()
    assert b"/FontFile2" in content and b"/Type3" not in content


def test_every_format_is_written_and_nothing_else(tmp_path):
    files = write_figures([("one", titled()), ("two", titled())], tmp_path / "a" / "b", ["png", "pdf"])
    assert [path.name for path in files] == ["one.png", "one.pdf", "two.png", "two.pdf"]
    assert sorted(files) == sorted((tmp_path / "a" / "b").iterdir())
    assert files[0].read_bytes().startswith(b"\x89PNG") and files[1].read_bytes().startswith(b"%PDF-")


def test_what_embeds_fonts_does_not_tell_of_every_glyph(tmp_path, caplog):
    with caplog.at_level("INFO"):
        write_figures([("one", titled())], tmp_path, ["pdf"])
    assert not caplog.records


def test_lines_differ_beyond_the_colours():
    styles = [line_style(place) for place in range(4 * len(COLOURS))]
    assert len({(style["color"], style["ls"]) for style in styles}) == 4 * len(COLOURS)


def test_labels_are_as_short_as_they_can_be():
    paths = [Path("runs/a/teacher"), Path("runs/b/teacher")]
    assert labels_of(paths[:1], "file") == ["teacher"]
    assert labels_of(paths, "file") == ["a/teacher", "b/teacher"]
    with pytest.raises(InputError, match="got no file, or one twice .*: pass each file once"):
        labels_of([paths[0], Path("runs/b/../a/teacher")], "file")


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file cannot be a folder .*: name another"):
        write_figures([("one", titled())], tmp_path / "file")


def test_without_matplotlib_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(StateError, match="plots need matplotlib: pip install matplotlib"):
        require_matplotlib()
