"""Bounds on settings, in one wording."""

import math

from fairseq_dlf.core.support.errors import InputError


def require_positive(**values: float) -> None:
    """Raise InputError unless every value is finite and above 0."""
    for name, value in values.items():
        if not 0.0 < value < math.inf:
            raise InputError(f"{name} is {value}, but must be positive", setting=name)


def require_at_least(low: float, **values: float) -> None:
    """Raise InputError unless every value is finite and `low` or more."""
    for name, value in values.items():
        if not low <= value < math.inf:
            wanted = "not be negative" if low == 0 else f"be at least {low:g}"
            raise InputError(f"{name} is {value}, but must {wanted}", setting=name)


def require_between(low: float, high: float, **values: float) -> None:
    """Raise InputError unless every value lies in [low, high]."""
    for name, value in values.items():
        if not low <= value <= high:
            raise InputError(f"{name} is {value}, but must lie between {low:g} and {high:g}", setting=name)


def require_rate(**values: float) -> None:
    """Raise InputError unless every value lies in [0, 1)."""
    for name, value in values.items():
        if not 0.0 <= value < 1.0:
            raise InputError(f"{name} is {value}, but must lie in [0, 1)", setting=name)
