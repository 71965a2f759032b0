"""Cleaning against the rules of Moses' clean-corpus-n."""

import pytest

pytest.importorskip("fairseq")

from fairseq_dlf.core.support.errors import InputError  # noqa: E402
from fairseq_dlf.translation.corpus.tokens import Pair, is_clean, map_chunks, require_enough  # noqa: E402


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


def test_chunks_stay_in_order():
    assert map_chunks(lambda lines: [line.upper() for line in lines], list("abcde"), 1, "x", size=2) == list("ABCDE")


def test_splits_that_fairseq_takes_for_empty_are_refused():
    for split, found in (("train", 2), ("valid", 2), ("test", 1)):
        require_enough(split, found)
        with pytest.raises(InputError, match=f"the {split} split has .* of 5 lines: fairseq wants at least .* there"):
            require_enough(split, found - 1, " of 5 lines")


@pytest.mark.parametrize(("found", "told"), [(7, True), (8, False)])
def test_splits_that_make_no_batch_are_told(capsys, found, told):
    require_enough("test", found)
    note = "the test split has 7 of the 8 pairs that fairseq puts into a batch"
    assert (note in capsys.readouterr().err) is told
