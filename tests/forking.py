"""Commands as processes of their own at the price of a fork.

Importing torch and fairseq takes seconds; a server of the standard library
imports them once and forks for each command. The server itself never runs
anything, and the tests' own process, which has threads, is never forked.
"""

import logging
import multiprocessing
import multiprocessing.forkserver
import os
import runpy
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

REPOSITORY = Path(__file__).parent.parent
# Libraries only: each command still imports this package, and fairseq the folder of --user-dir.
PRELOADED = [
    "torch",
    "torch._dynamo",  # which the first optimiser loads
    "sklearn.datasets",
    "fairseq.trainer",
    "fairseq.tasks",
    "fairseq.checkpoint_utils",
    "fairseq.quantization_utils",
    "fairseq.sequence_generator",
    "sacrebleu",
    "sacremoses",
    "subword_nmt.apply_bpe",
    "sentencepiece",
    "safetensors.torch",
    "tqdm",
]
# Set before the libraries are loaded: a thread that was started before a fork would be missing after it.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
# Far above what any command takes on a machine five times slower.
TIMEOUT_S = 900.0


class Finished(NamedTuple):
    """What a command left: its exit status (negative: the signal that ended it) and its two streams."""

    status: int
    out: str
    err: str

    @property
    def printed(self) -> str:
        return self.out + self.err


class Command:
    """A running command.

    Args:
        module: what `python -m` would run.
        arguments: its arguments.
        cwd: the folder that it runs in; imports look there first, as under `python -m`.
        text: its standard input.
        environment: variables on top of the present ones. Libraries are loaded
            already, so that those which they read on import have no effect.
        first: what the process does before it becomes the command; a function of a module, or a partial of one.
    """

    def __init__(
        self,
        module: str,
        *arguments: object,
        cwd: Path = REPOSITORY,
        text: str = "",
        environment: Mapping[str, str] | None = None,
        first: Callable[[], object] | None = None,
    ):
        self._folder = tempfile.TemporaryDirectory()
        streams = Path(self._folder.name)
        (streams / "in").write_text(text, encoding="utf-8")
        variables = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(REPOSITORY), **(environment or {})}
        words = (module, [str(argument) for argument in arguments], str(cwd), self._folder.name, variables, first)
        _start_server()
        self._process = _CONTEXT.Process(target=_become, args=words)
        self._process.start()

    @property
    def pid(self) -> int:
        """The process's number."""
        assert self._process.pid is not None
        return self._process.pid

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal; nothing happens where the command has ended."""
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return

    def runs(self) -> bool:
        """Whether the command has not ended yet."""
        return self._process.is_alive()

    def out(self) -> str:
        """What was printed to standard output until now."""
        return self._read("out")

    def err(self) -> str:
        """What was printed to standard error until now."""
        return self._read("err")

    def wait(self, timeout_s: float = TIMEOUT_S) -> Finished:
        """Wait for the end, and return what the command left.

        Raises:
            TimeoutError: it still runs after `timeout_s`; it is killed.
        """
        self._process.join(timeout_s)
        late = self._process.exitcode is None
        if late:
            self._process.kill()
            self._process.join()
        finished = Finished(int(self._process.exitcode or 0), self.out(), self.err())
        self._process.close()
        self._folder.cleanup()
        if late:
            raise TimeoutError(f"after {timeout_s:g} s the command still ran: {finished.printed[-3000:]}")
        return finished

    def _read(self, stream: str) -> str:
        file = Path(self._folder.name, stream)
        return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""


def run(module: str, *arguments: object, **options: Any) -> Finished:
    """Run a command to its end; options are those of `Command`."""
    return Command(module, *arguments, **options).wait()


# The server -----

_CONTEXT = multiprocessing.get_context("forkserver")


def _start_server() -> None:
    """Start the server of this process where there is none, with libraries that keep to one thread."""
    _CONTEXT.set_forkserver_preload(PRELOADED)
    before = dict(os.environ)
    os.environ.update(ONE_THREAD, PYTHONWARNINGS="ignore", PYTHONPATH=str(REPOSITORY))
    try:
        multiprocessing.forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(before)


# The command's own process -----


def _become(
    module: str,
    arguments: list[str],
    cwd: str,
    streams: str,
    variables: dict[str, str],
    first: Callable[[], object] | None,
) -> None:
    """Do what `python -m module` does, in the process that the server has forked."""
    _redirect(Path(streams))
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(cwd)
    sys.path.insert(0, cwd)
    # A shell starts what it puts in the background deaf to interrupts, and tests with it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # fairseq logs while it is imported, which sets up logging for whoever comes first.
    logging.root.handlers.clear()
    logging.root.setLevel(logging.WARNING)
    if module.startswith("fairseq_dlf.images"):
        _forget(["fairseq", "fairseq_cli"])
    sys.argv = [module, *arguments]
    if first is not None:
        first()
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except KeyboardInterrupt:
        # An interpreter ends by the signal that interrupted it; multiprocessing would exit with 1.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _redirect(streams: Path) -> None:
    """Turn the three standard streams to files, which keep what was printed before a kill."""
    flags = {"in": os.O_RDONLY, "out": os.O_WRONLY | os.O_CREAT, "err": os.O_WRONLY | os.O_CREAT}
    for number, (name, flag) in enumerate(flags.items()):
        opened = os.open(streams / name, flag | (os.O_APPEND if number else 0), 0o600)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)


def _forget(packages: Iterable[str]) -> None:
    """Unload packages that a command must not find loaded, as it would not in a fresh interpreter."""
    loaded = [name for name in sys.modules if name.split(".")[0] in packages]
    for name in loaded:
        del sys.modules[name]
