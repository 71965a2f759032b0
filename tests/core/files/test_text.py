"""Text as lines."""

import pytest

from fairseq_dlf.core.files.text import lines_of, read_lines
from fairseq_dlf.core.support.errors import InputError, MissingFileError


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        ("", []),
        ("\n", [""]),
        ("a\nb\n", ["a", "b"]),
        ("a\nb", ["a", "b"]),
        ("a\r\n\r\nb\r\n", ["a", "", "b"]),
        ("a\rb\n", ["a\rb"]),
        ("\ufeffa\n\ufeffb\n", ["a", "\ufeffb"]),
        ("a\u2028b\x85c\x0bd\x0ce\x1cf\n", ["a\u2028b\x85c\x0bd\x0ce\x1cf"]),
    ],
)
def test_only_line_feeds_end_a_line(content, lines):
    assert lines_of(content.encode(), "x") == lines


@pytest.mark.parametrize(("content", "place"), [("Straße\n".encode("latin-1"), 4), ("Straße\n".encode("utf-16"), 0)])
def test_what_is_not_utf_8_is_named(content, place):
    with pytest.raises(InputError, match=f"refs.en is not UTF-8 .byte {place}.: convert it to UTF-8"):
        lines_of(content, "refs.en")


def test_files_are_read_and_named(tmp_path):
    (tmp_path / "a file.en").write_bytes(b"\xef\xbb\xbfone\r\ntwo\n")
    assert read_lines(tmp_path / "a file.en") == ["one", "two"]
    with pytest.raises(MissingFileError, match="references not found: there is no .*b.en"):
        read_lines(tmp_path / "b.en", "references")
    with pytest.raises(InputError, match="references cannot be read from .*Is a directory"):
        read_lines(tmp_path, "references")
    (tmp_path / "b.en").write_bytes(b"\xff")
    with pytest.raises(InputError, match="b.en is not UTF-8"):
        read_lines(tmp_path / "b.en", "references")
