"""Reading of lines; whole archives and folders are read in test_prepare.py."""

from fairseq_dlf.translation.corpus import corpora


def test_odd_separators_do_not_shift_lines():
    assert corpora.decode_lines("a\u2028b\x85c\nd\r\n\ne".encode(), "x") == ["a\u2028b\x85c", "d\r", "", "e"]
