"""What present-day torch needs to be told to work with fairseq's checkpoints.

Since torch 2.6 `torch.load` reads weights only, unless a global is declared safe.
fairseq's checkpoints hold its configuration and, made with `--eval-bleu`, NumPy
figures; without the declarations below generation, validation and every resume
fail. The check itself stays on: a hostile pickle is still refused.
"""

import argparse
import builtins
import collections
import os
import typing
from pathlib import Path
from typing import Any, Optional

import numpy as np
import omegaconf
import torch
from fairseq import utils
from fairseq.distributed import utils as distributed_utils
from omegaconf import base as omegaconf_base
from omegaconf import nodes as omegaconf_nodes
from torch import distributed

_OMEGACONF_NODES = (
    "AnyNode",
    "BooleanNode",
    "BytesNode",
    "EnumNode",
    "FloatNode",
    "IntegerNode",
    "PathNode",
    "StringNode",
)
_BUILTINS = ("dict", "list", "tuple", "set", "int", "float", "str", "bool")


def allow_checkpoint_globals() -> None:
    """Declares safe what fairseq's own checkpoints hold; idempotent."""
    torch.serialization.add_safe_globals([argparse.Namespace, *_numpy_globals(), *_broadcast_globals()])


def _numpy_globals() -> list[Any]:
    """NumPy scalars and arrays: BLEU counts in the meters of `--eval-bleu` runs."""
    multiarray = np.core.multiarray if np.lib.NumpyVersion(np.__version__) < "2.0.0" else np._core.multiarray
    dtypes = {type(np.dtype(kind)) for kind in ("?", "i1", "i2", "i4", "i8", "u1", "f2", "f4", "f8")}
    return [multiarray._reconstruct, multiarray.scalar, np.ndarray, np.dtype, *dtypes]


def _broadcast_globals() -> list[Any]:
    """What rank 0 sends to the others when several ranks resume."""
    nodes = [getattr(omegaconf_nodes, name) for name in _OMEGACONF_NODES if hasattr(omegaconf_nodes, name)]
    return [
        omegaconf.DictConfig,
        omegaconf.ListConfig,
        omegaconf_base.ContainerMetadata,
        omegaconf_base.Metadata,
        *nodes,
        *(getattr(builtins, name) for name in ("dict", "list", "int", "float", "str", "bool", "set", "tuple")),
        collections.defaultdict,
        collections.OrderedDict,
        typing.Any,
        distributed_utils._TensorPlaceholder,
    ]


def require_data_bin(data: Optional[str]) -> None:
    """Raises FileNotFoundError unless the first data path holds fairseq's binarised data."""
    first = Path(utils.split_paths(data)[0]) if data else None
    if first is None or not any(first.glob("dict.*.txt")):
        raise FileNotFoundError(
            f"there is no data-bin at {data}: wanted a folder that fairseq-preprocess has written, with "
            "dict.*.txt in it; make one with dlf-prepare or prepare-iwslt14.sh"
        )


_COMMAND = (
    "torchrun --nproc-per-node N --no-python fairseq-train … --distributed-world-size N; on CPUs torchrun "
    "--nproc-per-node N --no-python bash -c 'fairseq-train … --cpu --distributed-world-size N "
    "--distributed-no-spawn --distributed-init-method env:// --distributed-rank $RANK --distributed-backend gloo "
    "--ddp-backend legacy_ddp'"
)


def require_processes(args) -> None:
    """Refuses a launch in which fairseq would start no process, train nothing, and report success.

    fairseq spawns one process for each GPU it sees; without any it spawns none.

    Args:
        args: parsed arguments of `fairseq-train`; others pass.

    Raises:
        ValueError: with the command to use.
    """
    number = getattr(args, "distributed_world_size", None) or 1
    spawns = not getattr(args, "distributed_no_spawn", True) and "RANK" not in os.environ
    if number > 1 and spawns and torch.cuda.device_count() == 0:
        raise ValueError(
            f"--distributed-world-size {number} was asked for where there is no GPU: fairseq would start no process "
            f"and train nothing. Start the processes yourself: {_COMMAND}"
        )


def require_joined() -> None:
    """Refuses a process that torchrun has started, but that trains alone.

    Raises:
        ValueError: with the command to use.
    """
    number = int(os.environ.get("WORLD_SIZE", 1))
    if number > 1 and "RANK" in os.environ and not distributed.is_initialized():
        raise ValueError(
            f"{number} processes were started, but fairseq trains each of them alone: pass "
            f"--distributed-world-size {number} ({_COMMAND})"
        )
