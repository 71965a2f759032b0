"""Durations as people read them."""

import pytest

from fairseq_dlf.core.support.durations import human_duration


@pytest.mark.parametrize(
    ("seconds", "wanted"),
    [
        (0.0, "0 ms"),
        (0.00042, "0.42 ms"),
        (0.0123, "12 ms"),
        (1.0, "1 s"),
        (9.87, "9.9 s"),
        (59.0, "59 s"),
        (90.0, "1.5 min"),
        (3600.0, "1 h"),
        (3.6e7, "10,000 h"),
    ],
)
def test_a_duration_has_two_digits_and_a_unit(seconds, wanted):
    assert human_duration(seconds) == wanted
