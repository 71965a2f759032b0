"""The steps of a task as processes, one after another, with their logs in the run's folder."""

import os
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from experiments.runs import TEST_MARK, TRAININGS, Task, resolved

STOP_S = 30.0

LOG_NAME = "train.log"


def folder_of(task: Task, out: Path) -> Path:
    """Return the folder of a task's run."""
    return out / task.run


def log_of(task: Task, out: Path) -> Path:
    """Return the file that takes what a task's processes print."""
    if task.kind in TRAININGS:
        return folder_of(task, out) / LOG_NAME
    if task.kind == "data":
        return out / "data.log"
    return folder_of(task, out) / ("test.log" if task.name.endswith(TEST_MARK) else "average.log")


class Steps:
    """The processes of a task, of which one runs at a time.

    Args:
        task: whose steps to run.
        folders: by placeholder.
        environment: of the processes.
    """

    def __init__(self, task: Task, folders: Mapping[str, Path], environment: Mapping[str, str]):
        self.task = task
        self._folders, self._environment = folders, dict(environment)
        self._folder = folder_of(task, folders["OUT"])
        self._log = log_of(task, folders["OUT"])
        self._left = list(task.steps)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._process = self._start()

    def poll(self) -> int | None:
        """Return None while a process runs, then 0, or the exit status of the step that failed."""
        status = self._process.poll()
        if status != 0:
            return status
        step = self._left.pop(0)
        if step.output is not None:
            os.replace(self._unfinished(step.output), self._folder / step.output)
        if not self._left:
            return 0
        self._process = self._start()
        return None

    def stop(self) -> None:
        """End the process; a training goes on later from its last checkpoint."""
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        step = self._left[0]
        with ExitStack() as files:
            log = files.enter_context(self._log.open("ab"))
            output = log if step.output is None else files.enter_context(self._unfinished(step.output).open("wb"))
            return subprocess.Popen(
                resolved(step.command, self._folders),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=log,
                env=self._environment,
            )

    def _unfinished(self, name: str) -> Path:
        # A process that a killed parent left behind may still write to a file of its own.
        return self._folder / f"{name}.{os.getpid()}.tmp"
