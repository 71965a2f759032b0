"""What a forked child does before it becomes a command: a group of its own, limits, no second import."""

import importlib
import os
import resource
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from typing import Any

# fairseq-preprocess is a program of its own, which dlf-prepare starts.
PREPROCESS = "fairseq_cli.preprocess"


def begin(cpu_s: int = 0, memory_bytes: int = 0, file_bytes: int = 0) -> None:
    """Lead a process group of its own, so that a kill hits all that the command starts, and obey limits.

    Args:
        cpu_s: seconds of processor time.
        memory_bytes: of address space, on top of what is in use.
        file_bytes: size of a written file. 0 sets no limit.
    """
    os.setpgid(0, 0)
    limit(cpu_s, memory_bytes)
    if file_bytes:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write then fails, as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    subprocess.run = _without_imports


def limit(cpu_s: int = 0, memory_bytes: int = 0) -> None:
    """Bound processor time, and memory on top of what is in use."""
    if cpu_s:
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    if memory_bytes:
        with open("/proc/self/statm") as statm:
            used = int(statm.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + memory_bytes, used + memory_bytes))


_real_run = subprocess.run


def _without_imports(command: Sequence[str], **options: Any) -> Any:
    """Stand in for `subprocess.run`: fairseq-preprocess runs in a forked child, all else as ever."""
    if list(command[1:3]) != ["-m", PREPROCESS]:
        return _real_run(command, **options)
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if child == 0:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            os._exit(_preprocess(list(command[2:])))
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        output.seek(0)
        printed = output.read().decode(errors="replace")
    return subprocess.CompletedProcess(command, status, "", printed)


def _preprocess(arguments: list[str]) -> int:
    sys.argv = arguments
    try:
        importlib.import_module(PREPROCESS).cli_main()
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0
