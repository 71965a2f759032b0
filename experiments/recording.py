"""Records of what has just ended, from the logs and outputs in its folder."""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from experiments import circumstances
from experiments.adoption import commit_of
from experiments.logs import TrainingLog, bleus_of, parse_validation, read_log
from experiments.marks import read_mark
from experiments.processes import LOG_NAME, folder_of, log_of
from experiments.records import Data, Decoding, Machine, Record, version_name
from experiments.runs import VALIDATED, Task
from experiments.workplace import Workplace
from fairseq_dlf.core.support.errors import StateError


@dataclass
class Recorder:
    """Makes the records of a workplace.

    Attributes:
        place: the workplace.
        commit: of the code that runs now.
        threads: of each run.
    """

    place: Workplace
    commit: str
    threads: int

    @cached_property
    def data(self) -> Data:
        return circumstances.data(self.place.out / "data")

    @cached_property
    def machine(self) -> Machine:
        return circumstances.machine(self.threads)

    def record(self, task: Task) -> Record | None:
        """Write the record of a task that has ended, and return it; the preparation of data has none."""
        if task.kind == "data":
            return None
        makers = {"test": self._test, "average": self._average}
        record = makers.get(task.kind, self._training)(task)
        self.place.records.write(record)
        return record

    def same(self, task: Task) -> Record:
        """Return the record of a training that was made again, for its checkpoints.

        Processors round otherwise, so that a warm start or a teacher may come out as another one, which gets a record
        of its own, and what is made from it says so.

        Raises:
            StateError: a student came out as another one, so that its checkpoint is not the one of its record.
        """
        versions, again = self.place.records.versions(task.record), self._training(task)
        now = bleus_of(again.curve)
        for known in versions:
            if bleus_of(known.curve) == now:
                return known
        if task.kind == "student":
            raise StateError(
                f"{task.name} was trained again, since its checkpoints are gone, and is not the one of its record: dev "
                f"BLEU was {_listed(bleus_of(self._recorded(task).curve))}, is {_listed(now)}; delete its record, to "
                "make it anew on this machine"
            )
        again = dataclasses.replace(again, run=version_name(task.record, len(versions) + 1))
        self.place.records.write(again)
        return again

    def _training(self, task: Task) -> Record:
        log = read_log(log_of(task, self.place.out))
        if not log.curve and not log.diverged:
            raise StateError(f"{task.name} ended without a validation: look into {log_of(task, self.place.out)}")
        return self._new(task, log)

    def _new(self, task: Task, log: TrainingLog) -> Record:
        best = log.best
        return Record(
            run=task.record,
            command=task.command,
            commit=self._commit(task),
            seed=task.seed,
            setting=task.setting,
            data=self.data,
            curve=log.curve,
            best_bleu=None if best is None else best.bleu,
            best_update=None if best is None else best.update,
            train=log.train,
            step_s=log.step_s,
            wall_s=log.wall_s,
            diverged=log.diverged,
            machine=self.machine,
            starts=tuple(self._starts(task)),
        )

    def _starts(self, task: Task) -> Iterator[str]:
        """Yield the records of what a run was made from, where these are not the first ones."""
        for need in task.needs:
            versions = self.place.records.versions(need)
            if len(versions) > 1:
                curve = bleus_of(read_log(self.place.out / need / LOG_NAME).curve).items()
                here = next((each for each in versions if curve <= bleus_of(each.curve).items()), versions[0])
                if here is not versions[0]:
                    yield here.run

    def _test(self, task: Task) -> Record:
        """Complete the record of the training by what its best checkpoint does on test."""
        decoding = self._decoding(task, folder_of(task, self.place.out) / "test.txt")
        return dataclasses.replace(self._recorded(task), test=decoding)

    def _recorded(self, task: Task) -> Record:
        record = self.place.records.read(task.record)
        if record is None:
            raise StateError(f"the record of {task.record} is gone: run it again")
        return record

    def _average(self, task: Task) -> Record:
        folder = folder_of(task, self.place.out)
        trained = self.place.records.read(task.run)
        last = 0 if trained is None or not trained.curve else trained.curve[-1].update
        dev = parse_validation((folder / VALIDATED).read_text(encoding="utf-8", errors="replace"), last)
        log = TrainingLog((dev,), {}, None, None, finished=True, diverged=False)
        decoding = self._decoding(task, folder / "average.test.txt")
        starts = () if trained is None else trained.starts
        return dataclasses.replace(self._new(task, log), test=decoding, starts=starts)

    def _decoding(self, task: Task, generated: Path) -> Decoding:
        # sacrebleu and fairseq take seconds to import, which reports and lists of runs can do without.
        from experiments import scoring

        references, language = self._references(), self.place.table.language
        statistics = scoring.statistics_of(generated, references, language)
        self.place.records.write_statistics(task.record, statistics)
        return scoring.decoding(generated, references, language, task.steps[-1].text, self.commit)

    def _references(self) -> Path:
        return self.place.out / "data" / "raw" / f"test.{self.place.table.language}"

    def _commit(self, task: Task) -> str:
        """Return the commits that worked on a run, which something else than this package may have begun."""
        mark = read_mark(folder_of(task, self.place.out))
        if mark is not None:
            return ", ".join(mark.commits)
        log = log_of(task, self.place.out)
        if task.kind == "average" or not log.is_file():
            return self.commit
        return commit_of(log.read_text(encoding="utf-8", errors="replace"))


def _listed(bleus: Mapping[int, float | None]) -> str:
    return ", ".join(f"{bleu} at {update}" for update, bleu in bleus.items())
