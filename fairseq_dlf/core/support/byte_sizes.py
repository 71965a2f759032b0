"""Sizes of memory as people write and read them."""

import re

from fairseq_dlf.core.support.errors import InputError

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def size_in_bytes(text: str) -> int:
    """Read a size such as '2GiB', '500MB' or '1e6', in bytes.

    Raises:
        InputError: the text is not a size, or the size is infinite.
    """
    match = re.fullmatch(r"\s*([0-9.]+(?:e[0-9]+)?)\s*([A-Za-z]*)\s*", text)
    unit = _UNITS.get(match[2].upper()) if match else None
    try:
        if match is None or unit is None:
            raise ValueError
        return int(float(match[1]) * unit)
    except (ValueError, OverflowError) as error:
        raise InputError(f"{text!r} is not a size: write it as 2GiB, 500MB or a number of bytes") from error


def human_size(size: int) -> str:
    """Return a number of bytes as text such as '14.5 MiB'."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"
