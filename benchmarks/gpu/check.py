"""What a check is: a function from a place to figures, which says by an error that it failed or cannot be made."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

Figures = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Where checks are made.

    Attributes:
        device: of the students.
        folder: of runs and records.
        data: images, as --data of `python -m fairseq_dlf.images`.
        ends: value of `time.monotonic()` at which every check is to have ended.
    """

    device: torch.device
    folder: Path
    data: str = "digits"
    ends: float = float("inf")

    @property
    def seconds_left(self) -> float:
        return self.ends - time.monotonic()

    def synchronize(self) -> None:
        """Wait until the device has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


Check = Callable[[Place], Figures]


class UnmetError(Exception):
    """A check cannot be made here; the message says what is missing."""


@dataclass
class WrongError(Exception):
    """A check failed.

    Attributes:
        reason: what was found, and what was wanted.
        figures: all that was measured.
    """

    reason: str
    figures: Figures = field(default_factory=dict)

    def __str__(self) -> str:
        return self.reason


def within(figures: Figures, limits: Mapping[str, float]) -> Figures:
    """Return the figures, which fail where one is above its limit or is not a number.

    Args:
        limits: by the end of a figure's name.
    """
    for name, value in figures.items():
        limit = next((limit for end, limit in limits.items() if name.endswith(end)), None)
        if limit is not None and not value <= limit:
            raise WrongError(f"{name}: {value:.1e}, wanted {limit:.0e} at most", figures)
    return figures
