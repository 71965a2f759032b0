"""Cleaning against the rules of Moses' clean-corpus-n."""

import pytest

from fairseq_dlf.translation.corpus.tokens import Pair, is_clean


@pytest.mark.parametrize(
    ("source", "target", "kept"),
    [
        ("a b c", "a b", True),
        ("a b c d", "a b", False),
        ("a b", "a b c d", False),
        ("", "a", False),
        ("a", "", False),
        ("a b c d e f", "a b c d e f", False),
        ("a b c d e", "a b c d e", True),
        ("x" * 1001, "a", False),
    ],
)
def test_cleaning_keeps_what_moses_keeps(source, target, kept):
    assert is_clean(Pair(source, target, target), max_length=5, max_ratio=1.5) is kept
