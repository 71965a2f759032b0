"""Schedules against the best there is."""

from functools import cache

import pytest

from fairseq_dlf.core.hypergradient.schedules import Binomial, Checkpoints, Everything, sweeps


@cache
def fewest_steps(steps, slots):
    """Steps advanced by the best schedule when the forward pass counts too, by trying every place."""
    if steps == 1:
        return 0
    if slots == 1:
        return steps * (steps - 1) // 2
    return min(m + fewest_steps(steps - m, slots - 1) + fewest_steps(m, slots) for m in range(1, steps))


@pytest.mark.parametrize("slots", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("steps", [1, 2, 5, 17, 40])
def test_binomial_recomputes_as_little_as_can_be(steps, slots):
    """The forward pass reaches the last step once for free; the best schedule may start from there."""
    extra = sum(sweep.extra_steps for sweep in sweeps(Binomial(slots), 0, steps))
    gap = 1 + max(sweep.extra_steps for sweep in sweeps(Binomial(slots), 0, steps) if sweep.stop == steps)
    assert extra <= fewest_steps(steps, slots) - (steps - 1) + gap - 1


@pytest.mark.parametrize(
    ("start", "stop", "kept"),
    [(0, 13, [4, 8, 12]), (0, 12, [4, 8, 9, 10, 11]), (3, 12, [7, 11]), (0, 6, [1, 2, 3, 4, 5]), (0, 1, [])],
)
def test_checkpoints_stand_at_every_mark_and_in_all_of_the_last_segment(start, stop, kept):
    assert Checkpoints(4).keep(start, stop, free=5) == kept


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (lambda: Checkpoints(0), "every is 0, but must be at least 1"),
        (lambda: Binomial(0), "most is 0, but must be at least 1"),
    ],
)
def test_refuses_schedules_that_keep_nothing(schedule, words):
    with pytest.raises(ValueError, match=words):
        schedule()


@pytest.mark.parametrize(
    ("schedule", "slots"),
    [(Everything(), (1, 13)), (Checkpoints(4), (1, 7)), (Checkpoints(1), (1, 13)), (Binomial(5), (1, 5))],
    ids=str,
)
def test_slots_are_the_states_that_are_kept_at_a_time(schedule, slots):
    assert (schedule.slots(1), schedule.slots(13)) == slots
