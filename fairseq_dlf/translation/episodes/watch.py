"""Reports on an episode while it runs, and on the cotangent after it."""

import logging
import time
from typing import List, Optional, Tuple

logger = logging.getLogger(__name__)

REPORT_S = 60.0


class EpisodeWatch:
    """Logs how far a long episode is, at most once a minute, and the cotangent's norms at its end.

    Args:
        steps: T.
        first: the earliest step of the reverse pass.
        every: steps between logged norms; 0 is a tenth of the horizon.
    """

    def __init__(self, steps: int, first: int, every: int):
        self.steps = steps
        self.first = first
        self.every = every or max(1, (steps - first) // 10)
        self._norms: List[Tuple[int, float]] = []
        self._reported = time.monotonic()

    def forward(self, done: int) -> None:
        self._report(f"student update {done:,} of {self.steps:,}")

    def reverse(self, step: int, norm: float) -> None:
        if (self.steps - step) % self.every == 0:
            self._norms.append((step, norm))
        self._report(f"reverse pass at step {step:,}, of {self.steps:,} back to {self.first:,}")

    def finish(self, at_end: Optional[float]) -> None:
        """Log the norms, given the one at ω_T; nothing where there was no reverse pass."""
        if at_end is None:
            return
        norms = ", ".join(f"{step:,}: {norm:.3g}" for step, norm in [(self.steps, at_end), *self._norms])
        logger.info(f"norm of the cotangent before step: {norms}")

    def _report(self, text: str) -> None:
        now = time.monotonic()
        if now - self._reported >= REPORT_S:
            self._reported = now
            logger.info(text)
