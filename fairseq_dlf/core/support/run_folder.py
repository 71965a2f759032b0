"""What a run keeps in its folder to go on after a crash."""

import fcntl
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from fairseq_dlf.core.support.errors import InputError, brief
from fairseq_dlf.core.support.replacement import replacing

STATE_NAME, LOCK_NAME = "last.pt", "lock"


@contextmanager
def only_run_in(folder: Path) -> Iterator[None]:
    """Makes the folder, and keeps other processes from running in it at the same time.

    Raises:
        InputError: another process runs there, or there can be no such folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be a folder ({error.strerror}): name another", setting="out") from error
    with (folder / LOCK_NAME).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            text = f"another process runs in {folder}: wait for its end, or name another folder"
            raise InputError(text, setting="out") from error
        yield  # a process that dies gives the lock back


def save_state(folder: Path, signature: str, state: dict[str, Any]) -> None:
    """Replaces the folder's state; a failure leaves the old one."""
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / STATE_NAME) as partial:
        torch.save({"signature": signature, **state}, partial)


def load_state(folder: Path, signature: str) -> dict[str, Any] | None:
    """The folder's state, on the CPU; None where there is none.

    Raises:
        InputError: it is damaged, or of a run with other settings.
    """
    path = folder / STATE_NAME
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        found = state["signature"]
    except (RuntimeError, EOFError, OSError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise InputError(f"{path} cannot be read ({brief(error)}): delete {folder} to start that run again") from error
    if found != signature:
        raise InputError(
            f"{folder} holds a run with other settings ({found}; these are {signature}): name another folder, or "
            "delete this one",
            setting="out",
        )
    return state
