"""Show on one line how far a step of a recipe is, from the log that it writes.

    live_line.py LOG

Beside LOG lies the step's command, which says how long it will be. Ends with the process that started it.
"""

import os
import re
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import NamedTuple

from fairseq_dlf.train_log import read_line

WAIT_S = 1.0
CLEARED = "\r\033[K"
# Within an epoch: its number, the batches that are done, and all of them.
_BATCHES = re.compile(r"\| INFO \| train_inner \| epoch 0*(\d+): +(\d+) / (\d+) ")


class Progress(NamedTuple):
    """How far a training is.

    Attributes:
        share: of the whole training, in [0, 1]; None if its command does not say how long it is.
        text: epoch or update, and the last BLEU of dev.
    """

    share: float | None
    text: str


def progress_of(log: str, command: str) -> Progress | None:
    """Return how far a log is; None if nothing was trained yet.

    Args:
        log: of fairseq-train, in the format `simple`; of any other program, its last line is shown.
        command: that writes it.
    """
    lines = log.splitlines()
    found = [line for line in map(read_line, lines) if line is not None]
    updates = [line.figures["num_updates"] for line in found if "num_updates" in line.figures]
    if not updates:
        shown = "" if "fairseq-train" in command else next((line for line in reversed(lines) if line.strip()), "")
        return Progress(None, shown) if shown else None
    scores = [line.figures["bleu"] for line in found if line.kind == "valid" and "bleu" in line.figures]
    dev = f", dev BLEU {scores[-1]:.2f}" if scores else ""
    batches = _BATCHES.findall(log)
    if (epochs := _number(command, "--max-epoch")) and batches:
        epoch, done, all_of_it = map(int, batches[-1])
        # A resumed epoch begins where it stopped; an epoch that has ended is counted by its validation.
        share = (epoch - 1 + done / all_of_it) / epochs
        return Progress(min(share, 1.0), f"epoch {epoch}/{epochs}{dev}")
    if most := _number(command, "--max-update"):
        return Progress(min(updates[-1] / most, 1.0), f"update {updates[-1]:.0f}/{most}{dev}")
    return Progress(None, f"update {updates[-1]:.0f}{dev}")


def time_left(first: tuple[float, float], now: tuple[float, float]) -> str:
    """Return how long a training will still take, in words; "" if that is not known.

    Args:
        first, now: the time in seconds and the share that was done, when it was first seen and now.
    """
    seconds, share = now[0] - first[0], now[1] - first[1]
    if share <= 0.0:
        return ""
    left = seconds / share * (1.0 - now[1])
    return f", about {left:.0f} s left" if left < 60 else f", about {left / 60:.0f} min left"


def _number(command: str, option: str) -> int | None:
    match = re.search(rf"{option} (\d+)", command)
    return int(match[1]) if match else None


def show(log: Path, parent: int) -> None:
    """Show the line until the parent has gone."""
    command = log.with_suffix(".command").read_text(encoding="utf-8")
    first: tuple[float, float] | None = None
    while os.getppid() == parent:
        written = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
        progress = progress_of(written, command)
        if progress is not None:
            text = progress.text
            if progress.share is not None:
                now = time.monotonic(), progress.share
                first = first or now
                text += time_left(first, now)
            width = shutil.get_terminal_size().columns
            print(CLEARED + f"    {text}"[: width - 1], end="", flush=True)
        time.sleep(WAIT_S)


def main() -> None:
    """Show the line until this process is told to end, and clear it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        show(Path(sys.argv[1]), os.getppid())
    finally:
        print(CLEARED, end="", flush=True)


if __name__ == "__main__":
    main()
