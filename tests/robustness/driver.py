"""Starts commands, kills them at seeded moments, and compares what they leave behind."""

import hashlib
import json
import os
import random
import re
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from tests.forking import Command, Finished
from tests.robustness.children import begin

# What differs between two runs that are the same: seconds.
_FLEETING = ("elapsed_s", "previous_training_time", "train_time")
_FAIRSEQ_PARTS = ("model", "last_optimizer_state", "task_state")
# Which of a save's files, and of its exports, there are depends on where a kill fell between them.
_INTERMEDIATE = re.compile(r"checkpoint(\d+|_\d+_\d+)\.(pt|safetensors)")


class CommandLine(NamedTuple):
    """What `python -m` would run, and its arguments."""

    module: str
    arguments: Sequence[object]

    def start(self, **limits: int) -> Command:
        """Start it in a process group of its own, with limits of `begin`."""
        return Command(self.module, *self.arguments, first=partial(begin, **limits))

    def finish(self) -> Finished:
        """Run it to its end, which must be a good one."""
        found = self.start().wait()
        assert found.status == 0, f"status {found.status}: {found.printed[-3000:]}"
        return found


def kill(command: Command) -> Finished:
    """Kill a command and all that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(command.pid, signal.SIGKILL)
    command.kill()  # should it not yet lead a group
    return command.wait()


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
    line: Callable[[Path], CommandLine], base: Path, kills: int, seed: int, kills_a_folder: int = 10
) -> Kills:
    """Kill a command again and again, restart it until it ends, and compare the end with an undisturbed run's.

    Args:
        line: the command line that writes to a folder.
        base: new folder for all that is written.
        kills: how many at least, spread over folders of their own.
        seed: of the moments.
        kills_a_folder: after so many a run is left to end.
    """
    began, straight = time.monotonic(), base / "straight"
    command = line(straight).start()
    changes = _count_changes(command, straight)
    ended = command.wait()
    assert ended.status == 0, ended.printed[-3000:]
    moments = Moments(random.Random(seed), time.monotonic() - began, changes)
    wanted, found = contents_of(straight), Kills()
    # A run can end before its first kill; so many folders are enough for every seed.
    for number in range(4 * kills):
        if found.kills >= kills:
            break
        folder = base / f"killed{number}"
        done, fault = _one_folder(line(folder), folder, moments, min(kills_a_folder, kills - found.kills))
        found.kills += done
        found.folders += 1
        fault = fault or difference(wanted, contents_of(folder))
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

    def wait_for_one(self, command: Command, folder: Path) -> bool:
        """Wait for a moment; return whether the command goes on still."""
        if self.draw.random() < 0.5:
            end = time.monotonic() + self.draw.uniform(0.0, self.duration_s)
            return _while_running(command, lambda: time.monotonic() < end)
        watch, wanted = Watch(folder), self.draw.randint(1, max(1, self.changes // 2))
        return _while_running(command, lambda: watch.changes() < wanted)


def _one_folder(line: CommandLine, folder: Path, moments: Moments, kills: int) -> tuple[int, str | None]:
    """Kill and restart until the end; return the number of kills, and what went wrong."""
    for done in range(kills + 1):
        command = line.start()
        hit = done < kills and moments.wait_for_one(command, folder)
        ended = kill(command) if hit else command.wait()
        if ended.status != -signal.SIGKILL:
            break
    return done, None if ended.status == 0 else f"ends with status {ended.status}: {last_line(ended.printed)}"


def _count_changes(command: Command, folder: Path) -> int:
    watch = Watch(folder)
    _while_running(command, lambda: watch.changes() >= 0)
    return watch.changes()


def _while_running(command: Command, waiting: Callable[[], bool]) -> bool:
    """Wait; return whether the command still runs afterwards."""
    while waiting():
        if not command.runs():
            return False
        time.sleep(0.0005)
    return command.runs()


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
    """Return what each file of a folder holds, without seconds, locks, logs of fairseq and unfinished files.

    PDF files hold the time at which they were made.
    """
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and not _is_left_out(path)]
    return {str(path.relative_to(folder)): _content(path) for path in paths}


def _is_left_out(path: Path) -> bool:
    return (
        path.suffix in (".tmp", ".log", ".pdf") or path.name == "lock" or _INTERMEDIATE.fullmatch(path.name) is not None
    )


def _content(path: Path) -> Any:
    if path.suffix == ".pt":
        state = torch.load(path, map_location="cpu", weights_only=True)
        if "last_optimizer_state" in state:
            updates = state["optimizer_history"][-1]["num_updates"]
            state = {"updates": updates, **{name: state[name] for name in _FAIRSEQ_PARTS if name in state}}
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
