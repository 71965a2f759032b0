"""What is too long for a model."""

import pytest

pytest.importorskip("fairseq")

from fairseq_dlf.core.support.errors import InputError  # noqa: E402
from fairseq_dlf.translation.corpus.subwords import drop_too_long, positions_of, require_no_too_long  # noqa: E402


def test_the_end_of_a_sentence_takes_a_position():
    assert [positions_of(line) for line in ("", "a", "a@@ b c")] == [1, 2, 4]


def test_pairs_with_a_long_side_are_dropped():
    sides = [["a", "a b c", "a b", "b"], ["c", "c", "c d e", "a b"]]
    assert drop_too_long(sides, max_positions=3) == ([["a", "b"], ["c", "a b"]], 2)
    assert drop_too_long(sides, max_positions=1) == ([[], []], 4)


def test_a_long_sentence_is_named():
    require_no_too_long(["a b", "a b"], "test.de", max_positions=3)
    with pytest.raises(InputError, match="line 2 of test.de has 3 subwords, more than the 2 .*shorten") as caught:
        require_no_too_long(["a b", "a b c"], "test.de", max_positions=3)
    assert caught.value.setting == "max_positions"
