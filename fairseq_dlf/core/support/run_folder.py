"""What a run keeps in its folder to go on after a crash."""

import fcntl
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from fairseq_dlf.core.support.replacement import replacing

STATE_NAME, LOCK_NAME = "last.pt", "lock"


@contextmanager
def only_run_in(folder: Path) -> Iterator[None]:
    """Makes the folder, and keeps other processes from running in it at the same time.

    Raises:
        ValueError: another process runs there, or there can be no such folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--out {folder} cannot be a folder ({error.strerror}): pass another --out") from error
    with (folder / LOCK_NAME).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"another process runs in {folder}: wait for its end, or pass another --out") from error
        yield  # a process that dies gives the lock back


def save_state(folder: Path, signature: str, state: dict[str, Any]) -> None:
    """Replaces the folder's state; a failure leaves the old one."""
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / STATE_NAME) as partial:
        torch.save({"signature": signature, **state}, partial)


def load_state(folder: Path, signature: str) -> dict[str, Any] | None:
    """The folder's state, on the CPU; None where there is none.

    Raises:
        ValueError: it is damaged, or of a run with other settings.
    """
    path = folder / STATE_NAME
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        found = state["signature"]
    except (RuntimeError, EOFError, OSError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise ValueError(
            f"{path} cannot be read ({str(error).splitlines()[0]}): delete {folder} to start that run again"
        ) from error
    if found != signature:
        raise ValueError(
            f"{folder} holds a run with other settings ({found}; these are {signature}): pass another --out, or "
            "delete the folder"
        )
    return state
