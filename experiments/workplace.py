"""Where a table is worked on, and how far each of its tasks is."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from experiments.adoption import require_same_options
from experiments.circumstances import ROOT
from experiments.logs import bleus_of, read_log
from experiments.marks import read_mark
from experiments.order import ordered
from experiments.processes import folder_of, log_of
from experiments.records import Records
from experiments.runs import BEST, TRAININGS, Task
from experiments.selection import choose, tuning_records
from experiments.table import Column, Setting, Table
from fairseq_dlf.core.files.run_folder import LOCK_NAME
from fairseq_dlf.core.support.errors import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

State = Literal["done", "running", "started", "missing", "undecided", "refused"]


@dataclass(frozen=True)
class Workplace:
    """A table, the folder of its runs and the folder of its records.

    Attributes:
        table: what is done.
        out: data, checkpoints and logs.
        results: records of all tables.
        raw: the raw corpus.
        only: patterns of the names of tasks; none for all.
    """

    table: Table
    out: Path
    results: Path
    raw: Path | None = None
    only: Sequence[str] = ()

    @property
    def records(self) -> Records:
        """Return the records of this table."""
        return Records(self.results / self.table.name)

    @property
    def folders(self) -> dict[str, Path]:
        """Return the folders that the placeholders in commands stand for."""
        out = self.out.resolve()
        raw = out / "raw" if self.raw is None else self.raw.resolve()
        return {"OUT": out, "DATA": out / "data", "CODE": ROOT, "RAW": raw}

    def chosen(self, column: Column) -> Setting | None:
        """Return a column's setting, or None as long as it is undecided."""
        return choose(tuning_records(self.table, column, self.records))

    def tasks(self) -> list[Task]:
        """Return the tasks that the patterns name, and what these need, in their order."""
        everything = list(ordered(self.table, self.chosen))
        return everything if not self.only else selected(everything, self.only)

    def state(self, task: Task) -> State:
        """Return how far a task is."""
        if task.kind == "undecided":
            return "undecided"
        if self.refusal(task) is not None:
            return "refused"
        if self.done(task):
            return "done"
        if task.kind in TRAININGS and is_locked(folder_of(task, self.out)):
            return "running"
        return "started" if log_of(task, self.out).is_file() else "missing"

    def done(self, task: Task) -> bool:
        """Return whether a task's result is there, whatever command made it."""
        if task.kind == "data":
            return _is_prepared(self.out / "data" / "prepare.json")
        if task.kind == "undecided":
            return False
        record = self.records.read(task.record)
        return record is not None and (task.kind != "test" or record.test is not None)

    def lost(self, task: Task) -> bool:
        """Return whether a training is recorded but its checkpoints are not there, as on another machine.

        While it is made again, they are there as soon as its best one is saved; those of a student when it ends,
        since the last ones may be averaged.
        """
        versions = self.records.versions(task.record) if task.kind in TRAININGS else []
        if not versions:
            return False
        log = read_log(log_of(task, self.out))
        curve = bleus_of(log.curve).items()
        there = any(
            curve <= bleus_of(record.curve).items()
            and (log.finished or (task.kind != "student" and record.best_update in log.saved))
            for record in versions
        )
        return not (there and (folder_of(task, self.out) / BEST).is_file())

    def pending(self, tasks: Sequence[Task]) -> list[Task]:
        """Return the tasks without a result, and lost trainings whose checkpoints these need, in their order."""
        by_name = {task.name: task for task in tasks}
        found = [task for task in tasks if task.kind != "undecided" and not self.done(task)]
        names = {task.name for task in found}
        for task in found:
            lost = [need for need in task.needs if need not in names and self.lost(by_name[need])]
            names.update(lost)
            # Which this loop comes to in its turn.
            found.extend(by_name[need] for need in lost)
        return [task for task in tasks if task.name in names]

    def refusal(self, task: Task) -> str | None:
        """Return why a task's result, or what is begun of it, is not what the table declares; None if it is."""
        if task.kind in ("data", "undecided"):
            return None
        record = self.records.read(task.record)
        if record is None:
            return self._refused_folder(task) if task.kind in TRAININGS else None
        made = record.command
        if task.kind == "test":
            made = task.command if record.test is None else record.test.command
        if made == task.command:
            return None
        again = "set `test` to null in" if task.kind == "test" else "delete the run's folder and"
        return f"{_unlike(task.name, made, task.command)}: restore the declaration, or {again} {task.record}.json"

    def require_declared(self, tasks: Iterable[Task]) -> None:
        """Raise InputError if a result, or what is begun of one, is not what the table declares."""
        refusals = [text for task in tasks if (text := self.refusal(task)) is not None]
        if refusals:
            more = f" ({len(refusals) - 1} more: see the status)" if len(refusals) > 1 else ""
            raise InputError(refusals[0] + more)

    def _refused_folder(self, task: Task) -> str | None:
        folder, log = folder_of(task, self.out), log_of(task, self.out)
        mark = read_mark(folder)
        if mark is not None:
            if mark.command == task.command:
                return None
            return f"{_unlike(task.name, mark.command, task.command)}: restore the declaration, or delete its folder"
        # Something else began it, and may only just have started.
        if not log.is_file() or is_locked(folder):
            return None
        try:
            text = log.read_text(encoding="utf-8", errors="replace")
            require_same_options(text, task.steps[0].command[2:], task.name)
        except InputError as error:
            return error.text
        return None


def selected(tasks: Sequence[Task], patterns: Sequence[str]) -> list[Task]:
    """Return the tasks whose names match a pattern such as 'lstm_dlf_1/seed-1/risk/*', and all that they need.

    Raises:
        InputError: a pattern matches none.
    """
    by_name = {task.name: task for task in tasks}
    names: set[str] = set()
    for pattern in patterns:
        found = [task.name for task in tasks if fnmatchcase(task.name, pattern)]
        if not found:
            raise InputError(f"no run matches {pattern!r}: list their names by the status", setting="only")
        names.update(found)
    pending = list(names)
    while pending:
        needed = [name for name in by_name[pending.pop()].needs if name not in names]
        names.update(needed)
        pending.extend(needed)
    return [task for task in tasks if task.name in names]


def ready(pending: Sequence[Task]) -> list[Task]:
    """Return the tasks that need nothing that is pending itself, in their order."""
    names = {task.name for task in pending}
    return [task for task in pending if names.isdisjoint(task.needs)]


def is_locked(folder: Path) -> bool:
    """Return whether another process trains in a folder."""
    path = folder / LOCK_NAME
    if fcntl is None or not path.is_file():
        return False
    with path.open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return False


def _is_prepared(path: Path) -> bool:
    try:
        return "binarise" in json.loads(path.read_text(encoding="utf-8"))["finished"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _unlike(name: str, made: str, declared: str) -> str:
    """Say which words differ, then both commands."""
    before, now = made.split(), declared.split()
    gone = " ".join(word for word in before if word not in now) or "nothing more"
    new = " ".join(word for word in now if word not in before) or "nothing more"
    return (
        f"{name} was made by another command than the table declares: it has {gone}, wanted {new} "
        f"(made by: {made}; declared: {declared})"
    )
