"""Starts commands, kills them at seeded moments, and compares what they leave behind."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch

REPOSITORY = Path(__file__).parents[2]
COMMANDS = {
    "images": "fairseq_dlf.images.command_line:main",
    "fairseq-train": "fairseq_cli.train:cli_main",
    "dlf-prepare": "fairseq_dlf.translation.corpus.prepare:main",
    "dlf-average": "fairseq_dlf.translation.tools.average:main",
    "dlf-compare": "fairseq_dlf.translation.tools.compare:main",
}
# A machine may be many times slower than the one where this was written.
PATIENCE_S = 600.0
# What differs between two runs that are the same: seconds, and where a run wrote to.
_FLEETING = ("elapsed_s", "previous_training_time", "train_time")
_FAIRSEQ_PARTS = ("model", "last_optimizer_state", "optimizer_history", "task_state")


class Command(NamedTuple):
    """A command line: a name of `COMMANDS` or module:function, and arguments."""

    name: str
    arguments: Sequence[str]


@dataclass(frozen=True)
class Run:
    """A command that was started."""

    server: "Server"
    pid: int
    log: Path

    @property
    def printed(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def poll(self) -> int | None:
        """Return the exit status, -N where signal N ended the command; None while it runs."""
        return self.server.status(self.pid)

    def wait(self) -> int:
        """Return the exit status once the command has ended; kill it after `PATIENCE_S`."""
        end = time.monotonic() + PATIENCE_S
        while (status := self.poll()) is None:
            if time.monotonic() > end:
                self.kill()
                raise TimeoutError(f"still running after {PATIENCE_S:g} s: {self.printed[-2000:]}")
            time.sleep(0.002)
        return status

    def kill(self) -> None:
        """Kill the command and all that it has started."""
        os.killpg(self.pid, signal.SIGKILL)
        while self.poll() is None:
            time.sleep(0.001)


class Server:
    """The fork server's other end; a context manager.

    Args:
        folder: where the output of commands goes.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._started = 0
        self._ended: dict[int, int] = {}
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "TQDM_DISABLE": "1"}
        environment["PYTHONPATH"] = str(REPOSITORY)
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("fork_server.py"))],
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert json.loads(self._process.stdout.readline()) == "ready"

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.wait(PATIENCE_S)

    def start(self, command: Command, **limits: int) -> Run:
        """Start a command, with limits of `fork_server._limit`."""
        self._started += 1
        log = self.folder / f"{self._started:05d}.log"
        function = COMMANDS.get(command.name, command.name)
        arguments = [str(argument) for argument in command.arguments]
        pid = self._ask(do="start", function=function, arguments=arguments, log=str(log), limits=limits)
        return Run(self, pid, log)

    def finish(self, command: Command, **limits: int) -> Run:
        """Run a command to its end, which must be a good one."""
        run = self.start(command, **limits)
        status = run.wait()
        assert status == 0, f"status {status}: {run.printed[-3000:]}"
        return run

    def status(self, pid: int) -> int | None:
        if pid not in self._ended:
            status = self._ask(do="poll", pid=pid)
            if status is None:
                return None
            self._ended[pid] = status
        return self._ended[pid]

    def _ask(self, **request: Any) -> Any:
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


# Kills ---------------------------------------------------------------------------


@dataclass
class Kills:
    """What killing a command has shown.

    Attributes:
        kills: SIGKILLs that hit a running command.
        folders: runs that were killed and restarted until their end.
        faults: what went wrong, in words; empty is the promise kept.
    """

    kills: int = 0
    folders: int = 0
    faults: list[str] = field(default_factory=list)


def kill_and_restart(
    server: Server,
    command: Callable[[Path], Command],
    base: Path,
    kills: int,
    seed: int,
    kills_a_folder: int = 10,
    contents: Callable[[Path], Mapping[str, Any]] | None = None,
) -> Kills:
    """Kill a command again and again, restart it until it ends, and compare the end with an undisturbed run's.

    Args:
        command: the command line that writes to a folder.
        kills: how many at least, spread over folders of their own.
        seed: of the moments.
        kills_a_folder: after so many a run is left to end.
        contents: what must be the same, by name; by default `contents_of`.
    """
    read = contents or contents_of
    began = time.monotonic()
    straight = base / "straight"
    run = server.start(command(straight))
    changes = _count_changes(run, straight)
    assert run.wait() == 0, run.printed[-3000:]
    moments = Moments(random.Random(seed), time.monotonic() - began, changes)
    wanted, found = read(straight), Kills()
    # A run can end before its first kill; so many folders are enough for every seed.
    for number in range(4 * kills):
        if found.kills >= kills:
            break
        folder = base / f"killed{number}"
        done, fault = _one_folder(server, command(folder), folder, moments, min(kills_a_folder, kills - found.kills))
        found.kills += done
        found.folders += 1
        if fault is None:
            fault = difference(wanted, read(folder))
        if fault is not None:
            found.faults.append(f"{folder.name}, after {done} kills: {fault}")
    return found


@dataclass(frozen=True)
class Moments:
    """When to kill: half at random times, half right after a change in the folder.

    Args:
        duration_s: of an undisturbed run.
        changes: that were seen in it.
    """

    draw: random.Random
    duration_s: float
    changes: int

    def wait_for_one(self, run: Run, folder: Path) -> bool:
        """Wait for a moment; return whether the run goes on still."""
        if self.draw.random() < 0.5:
            end = time.monotonic() + self.draw.uniform(0.0, self.duration_s)
            return _while_running(run, lambda: time.monotonic() < end)
        watch, wanted = Watch(folder), self.draw.randint(1, max(1, self.changes // 2))
        return _while_running(run, lambda: watch.changes() < wanted)


def _one_folder(server: Server, command: Command, folder: Path, moments: Moments, kills: int) -> tuple[int, str | None]:
    """Kill and restart until the end; return the number of kills, and what went wrong."""
    for done in range(kills + 1):
        run = server.start(command)
        if done < kills and moments.wait_for_one(run, folder):
            run.kill()
            if run.poll() == -signal.SIGKILL:
                continue
        status = run.wait()
        return done, None if status == 0 else f"ends with status {status}: {last_line(run.printed)}"
    raise AssertionError("the last start is never killed")


def _count_changes(run: Run, folder: Path) -> int:
    watch, found = Watch(folder), 0

    def more() -> bool:
        nonlocal found
        found = watch.changes()
        return True

    _while_running(run, more)
    return found


def _while_running(run: Run, waiting: Callable[[], bool]) -> bool:
    """Wait; return whether the command still runs afterwards."""
    while waiting():
        if run.poll() is not None:
            return False
        time.sleep(0.0005)
    return run.poll() is None


class Watch:
    """Counts the changes in a folder since it was made, by size, time and inode of every file."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._seen = self._snapshot()
        self._changes = 0

    def changes(self) -> int:
        now = self._snapshot()
        self._changes += now != self._seen
        self._seen = now
        return self._changes

    def _snapshot(self) -> dict[str, tuple[int, int, int]]:
        found = {}
        for folder, _, names in os.walk(self.folder):
            for name in names:
                path = os.path.join(folder, name)
                try:
                    status = os.stat(path)
                except FileNotFoundError:
                    continue
                found[path] = (status.st_size, status.st_mtime_ns, status.st_ino)
        return found


# What a run leaves behind --------------------------------------------------------


def contents_of(folder: Path) -> dict[str, Any]:
    """Return what each file of a folder holds, without seconds, locks, logs of fairseq and unfinished files."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    left_out = [path for path in paths if path.suffix in (".tmp", ".log") or path.name == "lock"]
    return {str(path.relative_to(folder)): _content(path) for path in paths if path not in left_out}


def _content(path: Path) -> Any:
    if path.suffix == ".pt":
        state = torch.load(path, map_location="cpu", weights_only=True)
        if "last_optimizer_state" in state:
            state = {name: state[name] for name in _FAIRSEQ_PARTS if name in state}
        return plain(state)
    if path.suffix == ".json":
        return plain(json.loads(path.read_text(encoding="utf-8")))
    if path.suffix == ".jsonl":
        return plain([json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()])
    return _digest(path.read_bytes())


def plain(value: Any) -> Any:
    """Return a value that can be compared: tensors as kind and digest, NaN as text, without seconds."""
    if isinstance(value, torch.Tensor):
        whole = value.detach().cpu().contiguous()
        return f"{whole.dtype} {tuple(whole.shape)} {_digest(whole.view(-1).view(torch.uint8).numpy().tobytes())}"
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items() if name not in _FLEETING}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return value if isinstance(value, (str, int, bool, type(None))) else repr(value)


def difference(wanted: Any, found: Any, place: str = "") -> str | None:
    """Return where two values of `plain` differ first; None where they do not."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        if set(wanted) != set(found):
            return f"{place or 'the folder'} has {sorted(found)}, not {sorted(wanted)}"
        parts = [(name, wanted[name], found[name]) for name in wanted]
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        parts = [(str(number), *both) for number, both in enumerate(zip(wanted, found, strict=True))]
    else:
        return None if wanted == found else f"{place} is {str(found)[:200]}, not {str(wanted)[:200]}"
    return next((text for name, *both in parts if (text := difference(*both, f"{place}/{name}"))), None)


def last_line(printed: str) -> str:
    """Return the last line that holds more than spaces."""
    return next((line for line in reversed(printed.splitlines()) if line.strip()), "no output")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
