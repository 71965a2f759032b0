"""The work on a table: a few tasks at a time, in order, each recorded when it ends."""

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass

from experiments.checkpoints import kept_bytes, superfluous
from experiments.circumstances import ROOT
from experiments.logs import read_log
from experiments.marks import leave_mark
from experiments.processes import Steps, folder_of, log_of
from experiments.recording import Recorder
from experiments.records import Record
from experiments.runs import AVERAGE_MARK, BEST, TRAININGS, Task
from experiments.workplace import Workplace, is_locked, ready
from fairseq_dlf.core.support.byte_sizes import human_size
from fairseq_dlf.core.support.errors import StateError, UserError

POLL_S = 1.0
# How often to look for runs that another process has finished.
LOOK_S = 20.0
Say = Callable[[str], None]


@dataclass
class Running:
    """A task at work."""

    task: Task
    steps: Steps
    began: float

    @property
    def minutes(self) -> float:
        return (time.monotonic() - self.began) / 60


class Engine:
    """Works on a table until nothing is left that can be done.

    Args:
        place: the table and its folders.
        recorder: makes the records.
        jobs: tasks at a time.
        say: takes a line about each start and end.
    """

    def __init__(self, place: Workplace, recorder: Recorder, jobs: int, say: Say):
        self._place, self._recorder, self._jobs, self._say = place, recorder, jobs, say
        self._running: list[Running] = []
        self._failed: list[str] = []
        self._elsewhere: set[str] = set()

    def work(self) -> None:
        """Do all that can be done.

        Raises:
            InputError: a result is not what the table declares.
            StateError: some tasks failed; all others that could be done are done.
        """
        self._place.require_declared(self._place.tasks())
        looked = -LOOK_S
        try:
            while True:
                ended = self._collect()
                if ended or time.monotonic() - looked >= LOOK_S:
                    self._stop_restored()
                    self._start_ready()
                    looked = time.monotonic()
                    if not self._running and not self._elsewhere:
                        break
                time.sleep(POLL_S)
        finally:
            for running in self._running:
                running.steps.stop()
        if self._failed:
            raise StateError(
                f"{len(self._failed)} of the runs failed ({', '.join(self._failed)}): "
                "look into their logs; the same command tries them again"
            )

    # Starts -----------------------------------------------------------------------

    def _start_ready(self) -> None:
        """Record what ended without us, then fill the free places."""
        again = True
        while again:
            again = False
            pending = self._place.pending(self._place.tasks())
            waiting = [task for task in ready(pending) if not self._is_taken(task)]
            self._elsewhere = {task.name for task in waiting if self._is_elsewhere(task)}
            for task in waiting:
                if task.name in self._elsewhere:
                    continue
                # A record may decide a column or complete what others need, so that the list is another one.
                if self._is_over(task):
                    self._end(task, None)
                    again = True
                    break
                if len(self._running) < self._jobs:
                    self._start(task)
            self._tidy()

    def _is_taken(self, task: Task) -> bool:
        return task.name in self._failed or any(running.task.name == task.name for running in self._running)

    def _is_elsewhere(self, task: Task) -> bool:
        if task.kind not in TRAININGS or not is_locked(folder_of(task, self._place.out)):
            return False
        if task.name not in self._elsewhere:
            self._say(f"waits for {task.name}, which another process trains")
        return True

    def _is_over(self, task: Task) -> bool:
        """Return whether a training ended before it was recorded, the first time or as it came out on this machine."""
        if task.kind not in TRAININGS or not self._is_finished(task):
            return False
        best = folder_of(task, self._place.out) / BEST
        return not self._is_recorded(task) or (task.kind != "student" and best.is_file())

    def _is_recorded(self, task: Task) -> bool:
        """Return whether a training is only made again for its checkpoints, which were lost."""
        return task.kind in TRAININGS and self._place.done(task)

    def _is_finished(self, task: Task) -> bool:
        return read_log(log_of(task, self._place.out)).finished

    def _start(self, task: Task) -> None:
        out = self._place.out
        try:
            self._place.require_declared([task])
            again = self._is_recorded(task)
            if again and self._is_finished(task):
                # Its log would be taken for that of the new training.
                shutil.rmtree(folder_of(task, out))
            if task.kind in TRAININGS:
                leave_mark(folder_of(task, out), task.command, self._recorder.commit)
        except UserError as error:
            self._fail(task, error.text)
            return
        steps = Steps(task, self._place.folders, self._environment())
        self._running.append(Running(task, steps, time.monotonic()))
        self._say(f"begins {task.name}" + (" again, since its checkpoints are gone" if again else ""))

    def _environment(self) -> dict[str, str]:
        threads = str(self._recorder.threads)
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        return {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "PYTHONPATH": path}

    # Ends -------------------------------------------------------------------------

    def _collect(self) -> bool:
        """Record the tasks that have ended; return whether any has."""
        ended = [(each, status) for each in self._running if (status := each.steps.poll()) is not None]
        for each, status in ended:
            self._running.remove(each)
            log = log_of(each.task, self._place.out)
            if status == 0 or (each.task.kind in TRAININGS and read_log(log).diverged):
                self._end(each.task, each.minutes)
            else:
                self._fail(each.task, f"exit status {status} after {each.minutes:.1f} min, log {log}")
        return bool(ended)

    def _stop_restored(self) -> None:
        """Stop trainings that were begun again for their checkpoints and have these."""
        repeated = [each for each in self._running if self._is_recorded(each.task)]
        for each in [each for each in repeated if not self._place.lost(each.task)]:
            each.steps.stop()
            self._running.remove(each)
            self._say(f"ends {each.task.name}: {each.minutes:.1f} min, at its best checkpoint")

    def _end(self, task: Task, minutes: float | None) -> None:
        try:
            if minutes is None:
                self._place.require_declared([task])
            record = self._recorder.same(task) if self._is_recorded(task) else self._recorder.record(task)
        except UserError as error:
            self._fail(task, error.text)
            return
        took = "ended before" if minutes is None else f"{minutes:.1f} min"
        self._tidy()
        kept = kept_bytes(folder_of(task, self._place.out))
        self._say(f"ends {task.name}: {took}{_figures(task, record)}; keeps {human_size(kept)}")

    def _fail(self, task: Task, reason: str) -> None:
        self._failed.append(task.name)
        self._say(f"FAILED {task.name}: {reason}")

    def _tidy(self) -> None:
        """Delete checkpoints that nothing needs, but none of a run that is being decoded."""
        busy = {folder_of(running.task, self._place.out) for running in self._running}
        for path in list(superfluous(self._place.table, self._place.records, self._place.out)):
            if path.parent not in busy:
                path.unlink(missing_ok=True)


def _figures(task: Task, record: Record | None) -> str:
    if record is None:
        return ""
    found = ", DIVERGED" if record.diverged else ""
    if task.kind != "test" and record.best_bleu is not None:
        found += f", dev {record.best_bleu:.2f} at update {record.best_update:,}"
    if task.name.endswith(AVERAGE_MARK) or task.kind == "test":
        found += "" if record.test is None else f", test {record.test.bleu:.2f}"
    return found
