"""Reading of text; whole folders are read in test_prepare.py."""

import pytest

pytest.importorskip("fairseq")

from fairseq_dlf.core.support.errors import InputError, MissingFileError  # noqa: E402
from fairseq_dlf.translation.corpus.corpora import (  # noqa: E402
    ParallelText,
    aligned,
    decode_lines,
    find_raw,
    read_text,
    require_references,
)


def test_odd_separators_do_not_shift_lines():
    assert decode_lines("a\u2028b\x85c\nd\r\n\ne".encode(), "x") == ["a\u2028b\x85c", "d", "", "e"]


def test_a_byte_order_mark_is_told(capsys):
    assert decode_lines("\ufeffa\n".encode(), "train.de") == ["a"]
    assert "note: train.de begins with a byte-order mark, which is left out" in capsys.readouterr().err


def test_lines_are_paired_where_their_number_is_the_same():
    assert aligned([["a"], ["b"]], ["x.de", "x.en"]) == ParallelText(["a"], ["b"])
    with pytest.raises(InputError, match="x.de has 1 lines, x.en has 2: both must have the same number"):
        aligned([["a"], ["b", "c"]], ["x.de", "x.en"])


def test_plain_text_is_preferred_to_gzip(tmp_path):
    with pytest.raises(MissingFileError, match="has no test.de or test.de.gz") as caught:
        find_raw(tmp_path, "test", "de")
    assert caught.value.setting == "raw"
    (tmp_path / "test.de.gz").touch()
    assert find_raw(tmp_path, "test", "de").name == "test.de.gz"
    (tmp_path / "test.de").touch()
    assert find_raw(tmp_path, "test", "de").name == "test.de"


def test_references_must_say_something():
    require_references(["a", "b"], "test.en")
    with pytest.raises(InputError, match="empty reference in test.xml .segment 2.: remove the pair"):
        require_references(["a", "\t"], "test.xml", "segment")


def test_text_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(InputError, match="raw text cannot be read from .*Is a directory"):
        read_text(tmp_path)
