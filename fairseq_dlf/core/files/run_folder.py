"""The lock and the state that a run keeps in its folder, to continue after a crash."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch

from fairseq_dlf.core.files.checkpoint_zip import read_checkpoint
from fairseq_dlf.core.files.fields import Made, read_dataclass
from fairseq_dlf.core.files.replacement import replacing
from fairseq_dlf.core.support.errors import InputError, brief

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

STATE_NAME, LOCK_NAME = "last.pt", "lock"


@contextmanager
def only_run_in(folder: Path) -> Iterator[None]:
    """Make the folder, and prevent other processes from running in it at the same time.

    Systems without `fcntl`, such as Windows, have no lock; a line in the log says so.

    Raises:
        InputError: another process runs there, the folder cannot be created, or it has no name.
    """
    if folder == Path():
        raise InputError("the run's folder has no name or is the current one: name a folder of its own", setting="out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK_NAME).open("w")
    except OSError as error:
        text = f"{folder} cannot be the run's folder ({error.strerror}): name another"
        raise InputError(text, setting="out") from error
    with lock:
        _take(lock, folder)
        yield  # the system releases the lock of a process that dies


def _take(lock: IO[str], folder: Path) -> None:
    if fcntl is None:
        logger.warning(f"this system cannot lock {folder}: start no second run in it")
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        text = f"another process runs in {folder}: wait until it ends, or name another folder"
        raise InputError(text, setting="out") from error
    except OSError as error:
        logger.warning(f"the file system of {folder} cannot lock it ({brief(error)}): start no second run in it")


def save_state(folder: Path, signature: str, state: dict[str, Any]) -> None:
    """Replace the folder's state; a failure leaves the old state unchanged."""
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / STATE_NAME) as partial:
        torch.save({"signature": signature, **state}, partial)


def load_state(folder: Path, signature: str) -> dict[str, Any] | None:
    """Return the folder's state without its signature, on the CPU, or None if there is no state.

    Raises:
        InputError: it is damaged, or of a run with other settings.
    """
    path = folder / STATE_NAME
    if not path.exists():
        return None
    state = read_checkpoint(path, f"the folder of another run, or {_again(folder)}")
    if not isinstance(state, dict) or not isinstance(state.get("signature"), str):
        raise InputError(f"{path} is not the state of a run, or is damaged (it has no signature): {_again(folder)}")
    stored = state.pop("signature")
    if stored != signature:
        raise InputError(
            f"{folder} holds a run with other settings ({stored}; these are {signature}): name another folder, or "
            "delete this one",
            setting="out",
        )
    return state


def read_state(folder: Path, signature: str, kind: type[Made]) -> Made | None:
    """Return the folder's state as a dataclass, each field checked against its annotation.

    Raises:
        InputError: as for `load_state`, or a field is missing, unknown or of another type.
    """
    state = load_state(folder, signature)
    return None if state is None else read_dataclass(kind, state, folder / STATE_NAME, _again(folder))


def _again(folder: Path) -> str:
    return f"delete {folder} to start that run again"
