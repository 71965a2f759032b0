"""What the log says of an episode: how far it is, and the cotangent's norms at its end."""

import logging
from types import SimpleNamespace

import pytest

pytest.importorskip("fairseq")

from fairseq_dlf.translation.episodes import watch as watch_module  # noqa: E402
from fairseq_dlf.translation.episodes.watch import REPORT_S, EpisodeWatch  # noqa: E402


def lines_of(caplog, watch, steps, first):
    """What a whole episode logs whose cotangent before step t has the norm t + 0.5."""
    with caplog.at_level(logging.INFO, logger=watch_module.__name__):
        for step in range(steps - 1, first - 1, -1):
            watch.reverse(step, step + 0.5)
        watch.finish(steps + 0.5)
    return caplog.messages


@pytest.mark.parametrize(
    ("steps", "first", "every", "wanted"),
    [
        (4, 0, 0, "4: 4.5, 3: 3.5, 2: 2.5, 1: 1.5, 0: 0.5"),
        (25, 0, 0, "25: 25.5, 23: 23.5, 21: 21.5, 19: 19.5, 17: 17.5, 15: 15.5, 13: 13.5"),
        (25, 13, 0, "25: 25.5, 24: 24.5, 23: 23.5"),
        (6, 0, 3, "6: 6.5, 3: 3.5, 0: 0.5"),
        (100, 0, 0, "100: 100, 90: 90.5, 80: 80.5"),
    ],
)
def test_norms_are_logged_at_tenths_of_the_horizon_or_as_told(caplog, steps, first, every, wanted):
    (line,) = lines_of(caplog, EpisodeWatch(steps, first, every), steps, first)
    assert line.startswith(f"norm of the cotangent before step: {wanted}")


def test_nothing_is_logged_where_there_was_no_reverse_pass(caplog):
    with caplog.at_level(logging.INFO, logger=watch_module.__name__):
        EpisodeWatch(4, 0, 0).finish(None)
    assert caplog.messages == []


def test_progress_is_logged_at_most_once_a_minute(caplog, monkeypatch):
    clock = iter([100.0, 100.0 + REPORT_S - 1, 100.0 + REPORT_S, 161.0, 100.0 + 2 * REPORT_S])
    monkeypatch.setattr(watch_module, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    watch = EpisodeWatch(2000, 500, 0)
    with caplog.at_level(logging.INFO, logger=watch_module.__name__):
        for done in (1, 2, 3):
            watch.forward(1000 + done)
        watch.reverse(1500, 1.0)
    assert caplog.messages == ["student update 1,002 of 2,000", "reverse pass at step 1,500, of 2,000 back to 500"]
