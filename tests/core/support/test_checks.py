"""Bounds on settings: the values at their edges, and the words for those beyond."""

import math

import pytest

from fairseq_dlf.core.support.checks import require_at_least, require_between, require_positive, require_rate
from fairseq_dlf.core.support.errors import InputError


@pytest.mark.parametrize(
    ("check", "good", "bad", "words"),
    [
        (require_positive, (1, 1e-300, 1e300), (0, 0.0, -1, math.inf, math.nan), "must be positive"),
        (
            lambda **given: require_at_least(0, **given),
            (0, 0.0, 7),
            (-1e-9, math.inf, math.nan),
            "must not be negative",
        ),
        (lambda **given: require_at_least(2, **given), (2, 2.5), (1, math.inf, math.nan), "must be at least 2"),
        (
            lambda **given: require_between(0.5, 3, **given),
            (0.5, 1, 3),
            (0.49, 3.01, -math.inf, math.inf, math.nan),
            "must lie between 0.5 and 3",
        ),
        (require_rate, (0, 0.5, 0.999), (-0.1, 1.0, math.inf, math.nan), r"must lie in \[0, 1\)"),
    ],
    ids=["positive", "not negative", "at least", "between", "rate"],
)
def test_bounds(check, good, bad, words):
    for value in good:
        check(lr=value)
    for value in bad:
        with pytest.raises(InputError, match=f"lr is {value}, but {words}") as error:
            check(steps=good[0], lr=value)
        assert error.value.setting == "lr"
