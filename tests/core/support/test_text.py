"""Text as lines."""

import pytest

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.support.text import lines_of


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
