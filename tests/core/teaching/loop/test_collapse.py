"""What happens when lessons collapse."""

import math

import pytest

from fairseq_dlf.core.support.errors import UserError
from fairseq_dlf.core.teaching.loop.collapse import MAX_COLLAPSES, CollapsedError, CollapseWatch


def watch_after(*collapses, share=0.5):
    watch = CollapseWatch(share)
    for place, collapse in enumerate(collapses):
        watch.see(collapse, 0.1 * (place + 1))
    return watch


def test_the_third_collapse_in_a_row_ends_teaching():
    assert MAX_COLLAPSES == 3
    watch = watch_after("one", "two")
    watch.require_recovery("no advice")
    watch.see("it fell")
    with pytest.raises(
        CollapsedError, match="3 lessons in a row collapsed, the last because it fell. Rest first"
    ) as it:
        watch.require_recovery("Rest first")
    assert isinstance(it.value, UserError)


def test_a_usable_lesson_begins_the_count_again():
    watch = watch_after("one", "two", None, "one", "two")
    assert watch.in_a_row == 2
    watch.require_recovery("no advice")


def test_the_floor_is_a_share_of_the_best_end_of_a_usable_lesson():
    watch = CollapseWatch(0.5)
    assert watch.floor == -math.inf
    for collapse, measure, floor in ((None, 0.4, 0.2), (None, 0.3, 0.2), ("it fell", 0.9, 0.2), (None, 0.8, 0.4)):
        watch.see(collapse, measure)
        assert watch.floor == pytest.approx(floor)
    assert watch_after(None, share=0.0).floor == -math.inf


def test_a_negative_best_end_has_its_floor_below():
    watch = CollapseWatch(0.75)
    watch.see(None, -2.0)
    assert watch.floor == -2.5


def test_what_was_seen_survives_a_resume():
    watch = CollapseWatch(0.5)
    watch.restore(watch_after(None, None, "one", "two").state())
    assert (watch.in_a_row, watch.best, watch.floor) == (2, 0.2, 0.1)
    watch.see("three")
    with pytest.raises(CollapsedError, match="because three"):
        watch.require_recovery("")


def test_a_run_without_a_usable_lesson_survives_a_resume():
    watch = CollapseWatch(0.5)
    watch.restore(watch_after("one").state())
    assert (watch.in_a_row, watch.best, watch.floor) == (1, -math.inf, -math.inf)


def test_a_run_that_collapses_have_ended_can_be_resumed():
    watch = CollapseWatch(0.5)
    watch.restore(watch_after(None, "one", "two", "three").state())
    assert (watch.in_a_row, watch.best) == (0, 0.1)
    watch.require_recovery("no advice")
