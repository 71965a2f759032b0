"""Launches that fairseq would take, and that train nothing or the same thing twice."""

import os
from argparse import Namespace
from pathlib import Path
from typing import Optional

import torch
from fairseq import utils
from fairseq.models import ARCH_CONFIG_REGISTRY
from torch import distributed

from fairseq_dlf.core.support.errors import InputError, MissingFileError


def require_data_bin(data: Optional[str]) -> None:
    """Raise unless the first data path holds fairseq's binarised data.

    Forced by: fairseq asserts, or cannot infer the languages, where the folder is wrong.

    Raises:
        MissingFileError: there is no such data.
    """
    first = Path(utils.split_paths(data)[0]) if data else None
    if first is None or not any(first.glob("dict.*.txt")):
        raise MissingFileError(
            f"there is no data-bin at {data}: wanted a folder that fairseq-preprocess has written, with "
            "dict.*.txt in it; make one with dlf-prepare or prepare-iwslt14.sh"
        )


_COMMAND = (
    "torchrun --nproc-per-node N --no-python fairseq-train … --distributed-world-size N; on CPUs torchrun "
    "--nproc-per-node N --no-python bash -c 'fairseq-train … --cpu --distributed-world-size N "
    "--distributed-no-spawn --distributed-init-method env:// --distributed-rank $RANK --distributed-backend gloo "
    "--ddp-backend legacy_ddp'"
)


def require_processes(args: Namespace) -> None:
    """Refuse a launch in which fairseq would start no process, train nothing, and report success.

    Forced by: fairseq spawns one process for each GPU it sees; without any it spawns none.

    Args:
        args: parsed arguments of `fairseq-train`; others pass.

    Raises:
        InputError: with the command to use.
    """
    number = getattr(args, "distributed_world_size", None) or 1
    spawns = not getattr(args, "distributed_no_spawn", True) and "RANK" not in os.environ
    if number > 1 and spawns and torch.cuda.device_count() == 0:
        raise InputError(
            f"--distributed-world-size {number} was given where there is no GPU: fairseq would start no process "
            f"and train nothing. Start the processes yourself: {_COMMAND}"
        )


def show_command_line(arch: str) -> None:
    """Have the launch of an architecture of ours checked, in place of a function that sets no default.

    Forced by: fairseq shows the whole command line to architectures alone before it starts processes.
    """
    ARCH_CONFIG_REGISTRY[arch] = require_processes


def require_joined() -> None:
    """Refuse a process that torchrun has started, but that trains alone.

    Forced by: fairseq reads torchrun's variables only where it is told to be distributed.

    Raises:
        InputError: with the command to use.
    """
    number = int(os.environ.get("WORLD_SIZE", 1))
    if number > 1 and "RANK" in os.environ and not distributed.is_initialized():
        raise InputError(
            f"{number} processes were started, but fairseq trains each of them alone: pass "
            f"--distributed-world-size {number} ({_COMMAND})"
        )
