"""Durations as people read them."""

_UNITS = ((3600.0, "h"), (60.0, "min"), (1.0, "s"))


def human_duration(seconds: float) -> str:
    """Return a duration as text such as '2.5 ms', '42 s' or '3.1 h'."""
    size, unit = next((each for each in _UNITS if seconds >= each[0]), (0.001, "ms"))
    number = seconds / size
    return f"{number:,.0f} {unit}" if number >= 10 else f"{number:.2g} {unit}"
