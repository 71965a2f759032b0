"""Reading of fairseq's checkpoints, with one message for everything that can be wrong with a file."""

from pathlib import Path
from typing import Any, Optional

import torch
from fairseq import checkpoint_utils
from omegaconf import OmegaConf

from fairseq_dlf.core.files.checkpoint_zip import read_checkpoint
from fairseq_dlf.core.support.errors import InputError, UserError, brief

WANTED = "a checkpoint that fairseq-train has written"


def load_checkpoint(path: Path, wanted: str = WANTED) -> dict[str, Any]:
    """Read a checkpoint of `fairseq-train` on the CPU, in the format of the installed fairseq.

    Forced by: the errors of fairseq's `load_checkpoint_to_cpu` say neither which file nor what to do.

    Args:
        path: the file.
        wanted: what to pass instead, for the messages.

    Returns:
        fairseq's state, with at least `cfg` (None, or an OmegaConf tree), `model` (tensors by name),
        `task_state` and `extra_state` (both mappings).

    Raises:
        MissingFileError: there is no such file.
        InputError: the file is damaged, holds objects that are not safe to load, or is not a checkpoint.
    """
    state = read_checkpoint(path, wanted)
    model = state.get("model") if isinstance(state, dict) else None
    if not isinstance(model, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in model.values()):
        raise InputError(f"{path} holds no tensors of a model: pass {wanted}")
    try:
        return _upgraded(state)
    # fairseq and omegaconf may raise any exception if parts are missing or of another type.
    except Exception as error:
        text = f"{path} holds a model, but not what fairseq keeps with it ({brief(error)}): pass {wanted}"
        raise InputError(text) from error


def _upgraded(state: dict[str, Any]) -> dict[str, Any]:
    """Convert the state of older versions of fairseq to the format of the installed one.

    Forced by: fairseq's own function for this also reads the file.
    """
    if state.get("cfg") is not None:
        state["cfg"] = OmegaConf.create(state["cfg"], flags={"allow_objects": True})
    state = checkpoint_utils._upgrade_state_dict(state)
    state.setdefault("cfg", None)
    updates_of(state)
    for part in ("task_state", "extra_state"):
        if not isinstance(state.setdefault(part, {}), dict):
            raise TypeError(f"{part} is a {type(state[part]).__name__}")
    return state


def updates_of(state: dict[str, Any]) -> int:
    """Return the number of updates after which a checkpoint was saved."""
    return int(state["optimizer_history"][-1]["num_updates"])


def newest_readable(folder: Path, besides: Path) -> Optional[Path]:
    """Return the newest readable checkpoint of a folder, or None.

    Args:
        besides: a checkpoint to leave out.

    Cost: reads checkpoints, from the newest on, until one can be read.
    """
    found = [path for path in folder.glob("checkpoint*.pt") if path.is_file() and path != besides]
    for path in sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True):
        try:
            load_checkpoint(path)
        except UserError:
            continue
        return path
    return None
