"""A process that has torch and fairseq imported, and forks a child for every command that it is sent.

A start costs milliseconds in place of seconds, so that a command can be killed fifty times. Requests come as
lines of JSON on stdin, replies go as lines of JSON to stdout; `driver.py` is the other end.
"""

import importlib.util
import json
import os
import resource
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

# What takes long to import; fairseq may be missing, and with it the translation commands.
# An optimiser loads dynamo.
HEAVY = ("torch._dynamo", "sklearn.datasets", "fairseq_dlf.images.command_line")
TRANSLATION = ("fairseq_cli.train", "fairseq_cli.preprocess", "fairseq_dlf.translation", "sacremoses", "subword_nmt")
# fairseq-preprocess is a program of its own, which dlf-prepare starts.
PREPROCESS = "fairseq_cli.preprocess"


def serve() -> None:
    """Answer requests until stdin ends."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what modules print when they are imported is no reply
    for module in HEAVY:
        importlib.import_module(module)
    if importlib.util.find_spec("fairseq") is not None:
        for module in TRANSLATION:
            importlib.import_module(module)
    print(json.dumps("ready"), file=replies, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        reply = {"start": _start, "poll": _poll}[request.pop("do")](**request)
        print(json.dumps(reply), file=replies, flush=True)
    os._exit(0)  # tidying up after all these imports takes seconds


def _start(function: str, arguments: Sequence[str], log: str, limits: Mapping[str, int]) -> int:
    """Fork a child in a process group of its own; return its process id."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        os._exit(_run(function, arguments, log, limits))
    os.setpgid(child, child)
    return child


def _poll(pid: int) -> int | None:
    """Return the child's exit status, -N where signal N ended it; None while it runs."""
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def _run(function: str, arguments: Sequence[str], log: str, limits: Mapping[str, int]) -> int:
    """Be the command: its arguments, its output in a file, its status."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    _limit(**limits)
    subprocess.run, sys.argv = _without_imports, [function, *arguments]
    module, name = function.split(":")
    status = _status_of(getattr(importlib.import_module(module), name))
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def _status_of(main: Callable[[], Any]) -> int:
    try:
        returned = main()
    except SystemExit as end:
        returned = end.code
    except BaseException:
        traceback.print_exc()
        return 1
    if isinstance(returned, str):
        print(returned, file=sys.stderr)
    return returned if isinstance(returned, int) else int(returned is not None)


def _limit(cpu_s: int = 0, memory_bytes: int = 0, file_bytes: int = 0) -> None:
    """Bound processor time, memory on top of what is in use, and the size of written files; 0 does not."""
    if cpu_s:
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    if memory_bytes:
        with open("/proc/self/statm") as statm:
            used = int(statm.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + memory_bytes, used + memory_bytes))
    if file_bytes:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write then fails, as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))


_real_run = subprocess.run


def _without_imports(command: Sequence[str], **options: Any) -> Any:
    """Stand in for `subprocess.run`: fairseq-preprocess runs in a forked child, all else as ever."""
    if list(command[1:3]) != ["-m", PREPROCESS]:
        return _real_run(command, **options)
    child = os.fork()
    if child == 0:
        sys.argv = list(command[2:])
        module = importlib.import_module(PREPROCESS)
        os._exit(_status_of(module.cli_main))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return subprocess.CompletedProcess(command, status, "", "see the log")


if __name__ == "__main__":
    serve()
