"""Lines of what `fairseq-train` wrote into its log, in the formats `json` and `simple`."""

import json
import math
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

_LINE = re.compile(r"\| INFO \| (train_inner|train|valid) \| (.*)$")
# name=value or name value
_SIMPLE = re.compile(r"([a-z_]\w*)[= ]([^\s,|]+)")


class LogLine(NamedTuple):
    """A line with figures.

    Attributes:
        kind: 'train_inner' within an epoch, 'train' at its end, or 'valid'.
        figures: the finite numbers by name; none of a line that a kill cut off.
    """

    kind: str
    figures: dict[str, float]


def read_line(line: str) -> LogLine | None:
    """Read a line of a log; None if it holds no figures of training or validation."""
    match = _LINE.search(line)
    if match is None:
        return None
    kind, text = match[1], match[2]
    if not text.startswith("{"):
        return LogLine(kind, _finite(_SIMPLE.findall(text)))
    try:
        pairs = json.loads(text).items()
    except ValueError:
        return LogLine(kind, {})
    # Lines in JSON have 'train_' or 'valid_' before each name, but for those within an epoch.
    return LogLine(kind, _finite((name.removeprefix(f"{kind}_"), value) for name, value in pairs))


def _finite(pairs: Iterable[tuple[str, Any]]) -> dict[str, float]:
    found = {}
    for name, value in pairs:
        try:
            number = float(value)
        except (TypeError, ValueError):
            continue
        if math.isfinite(number):
            found[name] = number
    return found
