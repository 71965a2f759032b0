"""Launches that fairseq accepts although they train nothing, the same model twice, or not as their options say."""

import math
import os
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

import torch
from fairseq import utils
from fairseq.models import ARCH_CONFIG_REGISTRY
from torch import distributed

from fairseq_dlf.core.support.errors import InputError, MissingFileError


def require_data_bin(data: Optional[str]) -> None:
    """Raise MissingFileError unless the first data path holds fairseq's binarised data.

    Forced by: in a wrong folder fairseq fails in an assertion, or cannot infer the languages.
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

    Forced by: fairseq spawns one process for each GPU that it sees; without a GPU it spawns none.

    Args:
        args: parsed arguments of `fairseq-train`; those of other commands pass.

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
    """Check the launches of one of our architectures, in place of its function of defaults, which would set none.

    Forced by: before it starts processes, fairseq shows the whole command line only to architectures.
    """
    ARCH_CONFIG_REGISTRY[arch] = require_processes


def require_joined() -> None:
    """Refuse a process that torchrun has started, but that trains alone.

    Forced by: fairseq reads torchrun's variables only if its options say that the run is distributed.

    Raises:
        InputError: with the command to use.
    """
    number = int(os.environ.get("WORLD_SIZE", 1))
    if number > 1 and "RANK" in os.environ and not distributed.is_initialized():
        raise InputError(
            f"{number} processes were started, but fairseq trains each of them alone: pass "
            f"--distributed-world-size {number} ({_COMMAND})"
        )


# Options ----------------------------------------------------------------------

NOTHING_TO_SMOOTH = "--ce-share is 0, so that there is nothing to smooth: raise it"


def option_of(setting: str) -> str:
    """Return the name of a setting's option."""
    return f"--{setting.replace('_', '-')}"


def refuse_ignored(cfg: Any, setting: str, ignored: bool, why: str) -> None:
    """Refuse a setting that was given, but would be ignored; 0, None and empty text count as not given.

    Raises:
        InputError: naming the option; `why` also says what to do.
    """
    if ignored and getattr(cfg, setting) not in (None, "", 0):
        raise InputError(f"{option_of(setting)} {getattr(cfg, setting)} would be ignored, for {why}, or leave it out")


def require_rates(rates: Optional[Sequence[float]]) -> None:
    """Refuse learning rates that would end a run at once.

    Forced by: fairseq takes a rate below `--stop-min-lr` (-1) as the end of training, and reports success.

    Raises:
        InputError: a rate is negative or not finite.
    """
    wrong = [rate for rate in rates or () if not 0.0 <= rate < math.inf]
    if wrong:
        raise InputError(f"--lr is {wrong[0]}, but must be finite and not negative")
