"""Files that the command line names, with names of their own: NAME=FILE."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Named(NamedTuple):
    """Files under a name; an empty name asks for one made of the path."""

    name: str
    paths: tuple[Path, ...]


def named_teachers(text: str) -> list[Named]:
    """Read FILE[,FILE…], each perhaps with a name before it, NAME=FILE."""
    return [_named(part, (part,)) for part in _parts(text)]


def named_logs(text: str) -> Named:
    """Read LOG, or NAME=LOG[,LOG…]."""
    found = _named(text, _parts(text))
    if len(found.paths) > 1 and not found.name:
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted NAME={text}: logs of several seeds need a name")
    return found


def _named(text: str, parts: Sequence[str]) -> Named:
    """Return parts as paths; a name before the first one ends with '=' and has no slash."""
    name, separator, first = parts[0].partition("=")
    if separator and name and first and "/" not in name:
        return Named(name, (Path(first), *map(Path, parts[1:])))
    return Named("", tuple(map(Path, parts)))


def _parts(text: str) -> list[str]:
    parts = [part for part in text.split(",") if part.strip()]
    if not parts:
        raise argparse.ArgumentTypeError("got an empty name, wanted the path of a file")
    return parts
