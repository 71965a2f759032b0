"""The tasks of a table and their commands, with placeholders for folders: OUT, DATA, CODE and RAW."""

import shlex
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from experiments.table import Column, Options, Row, Setting, Table, Value

Kind = Literal["data", "warm", "teacher", "student", "test", "average", "undecided"]
TRAININGS = ("warm", "teacher", "student")
BEST, AVERAGE, VALIDATED = "checkpoint_best.pt", "average.pt", "average.valid.txt"
TEST_MARK, AVERAGE_MARK = "+test", "+average"


@dataclass(frozen=True)
class Step:
    """A command, and the file in the run's folder that takes its standard output; None for the log."""

    command: Options
    output: str | None = None

    @property
    def text(self) -> str:
        return shlex.join(self.command)


@dataclass(frozen=True)
class Task:
    """What is done as a whole and has an end that shows in the records.

    Attributes:
        name: 'lstm_dlf_1/seed-1/risk/lr-0.3', with '+test' for the decoding of test and '+average' for the average
            of the last checkpoints.
        steps: one after another.
        needs: names of the tasks that come first.
        setting: values that were tuned, by axis.
    """

    name: str
    kind: Kind
    steps: tuple[Step, ...] = ()
    needs: tuple[str, ...] = ()
    seed: int = 0
    setting: Mapping[str, Value] = field(default_factory=dict)

    @property
    def run(self) -> str:
        """Return the name of the training that it belongs to, and of its folder."""
        return self.name.removesuffix(TEST_MARK).removesuffix(AVERAGE_MARK)

    @property
    def record(self) -> str:
        """Return the name of the record that it makes or completes."""
        return self.name.removesuffix(TEST_MARK)

    @property
    def command(self) -> str:
        """Return the steps that its record is held to."""
        steps = self.steps[:-1] if self.kind == "average" else self.steps
        return " && ".join(step.text for step in steps)


def resolved(command: Options, folders: Mapping[str, Path]) -> list[str]:
    """Put folders in place of the placeholders, and this Python's scripts in place of our commands' names."""
    scripts = Path(sysconfig.get_path("scripts"))
    words = [str(scripts / command[0])]
    for word in command[1:]:
        head, slash, rest = word.partition("/")
        words.append(f"{folders[head]}{slash}{rest}" if head in folders else word)
    return words


# Tasks ----------------------------------------------------------------------------


def data_task(table: Table) -> Task:
    """Return the preparation of the corpus."""
    corpus, *options = table.prepare
    command = ("dlf-prepare", corpus, "--raw", "RAW", "--out", "DATA", *options)
    return Task("data", "data", (Step(command),))


def warm_task(table: Table, row: Row, seed: int, column: Column | None = None) -> Task:
    """Return the warm start of a seed, or the one of a column that has its own."""
    name, more = _warm(row, seed, column), () if column is None else column.warm
    words = (*row.arch, "--seed", str(seed), *row.warm, *more, *table.validation)
    return Task(name, "warm", (_train(table, name, words),), ("data",), seed)


def teacher_task(table: Table, row: Row, seed: int, column: Column | None = None) -> Task:
    """Return the teacher of a seed, or the one of a column that has its own."""
    name, warm = _teacher(row, seed, column), _warm(row, seed)
    words = ("--student", f"OUT/{warm}/{BEST}", "--seed", str(seed), *table.teacher)
    words += () if column is None else column.teacher
    return Task(name, "teacher", (_train(table, name, words),), (warm,), seed)


def student_task(table: Table, row: Row, seed: int, column: Column, setting: Setting) -> Task:
    """Return the further training of a warm start with a loss, or a whole training where students start fresh."""
    folder, warm = _seed_folder(row, seed), _warm(row, seed, column)
    name = f"{folder}/{column.name}/{setting.name}"
    start: Options = (*row.arch, "--seed", str(seed))
    if not table.fresh:
        start += ("--finetune-from-model", f"OUT/{warm}/{BEST}")
    teacher = _teacher(row, seed, column)
    loss = tuple(_with_teacher(word, teacher) for word in column.options)
    # Of an option that is given twice, the last one counts.
    words = (*start, *loss, *setting.options, *table.student, *column.instead, *table.validation)
    needs = ("data" if table.fresh else warm, *((teacher,) if column.needs_teacher else ()))
    return Task(name, "student", (_train(table, name, words),), needs, seed, dict(setting.values))


def decoding_task(table: Table, student: Task) -> Task:
    """Return the decoding of test by a student's best checkpoint."""
    step = _generate(table, f"OUT/{student.name}/{BEST}", "test.txt")
    return Task(student.name + TEST_MARK, "test", (step,), (student.name,), student.seed, student.setting)


def average_task(table: Table, student: Task) -> Task:
    """Return the average of a student's last checkpoints, measured on dev and decoded on test."""
    folder = f"OUT/{student.name}"
    mean = ("dlf-average", "--checkpoint-dir", folder, "--last", str(table.last), "--by", "update")
    steps = (
        Step((*mean, "--output", f"{folder}/{AVERAGE}")),
        _validate(table, f"{folder}/{AVERAGE}"),
        _generate(table, f"{folder}/{AVERAGE}", "average.test.txt"),
    )
    return Task(student.name + AVERAGE_MARK, "average", steps, (student.name,), student.seed, student.setting)


def undecided(row: Row, seed: int, column: Column) -> Task:
    """Return what stands for a student whose setting is not chosen yet."""
    return Task(f"{_seed_folder(row, seed)}/{column.name}/…", "undecided", seed=seed)


def _seed_folder(row: Row, seed: int) -> str:
    return f"{row.name}/seed-{seed}"


def _warm(row: Row, seed: int, column: Column | None = None) -> str:
    own = "" if column is None or not column.warm else f"-{column.name}"
    return f"{_seed_folder(row, seed)}/warm{own}"


def _teacher(row: Row, seed: int, column: Column | None = None) -> str:
    own = "" if column is None or not column.teacher else f"-{column.name}"
    return f"{_seed_folder(row, seed)}/teacher{own}"


def _with_teacher(word: str, teacher: str) -> str:
    return word.replace("TEACHER", f"OUT/{teacher}", 1) if word.startswith("TEACHER") else word


def _train(table: Table, name: str, words: Options) -> Step:
    places = ("DATA/bin", "--user-dir", "CODE/fairseq_dlf", "--save-dir", f"OUT/{name}")
    return Step(("fairseq-train", *places, *table.training, *words))


def _validate(table: Table, checkpoint: str) -> Step:
    """Return the measurement of dev that trainings make at validations.

    The same program counts the same sentences: at validations fairseq's multiple of 8 leaves out up to seven of dev.
    """
    places = ("DATA/bin", "--user-dir", "CODE/fairseq_dlf", "--path", checkpoint, "--valid-subset", "valid")
    plain = ("--task", "translation", "--criterion", "cross_entropy", "--log-format", "simple", "--num-workers", "0")
    size = ("--max-tokens", "4000")
    return Step(("fairseq-validate", *places, *plain, *table.validation, *size), VALIDATED)


def _generate(table: Table, checkpoint: str, output: str) -> Step:
    places = ("DATA/bin", "--user-dir", "CODE/fairseq_dlf", "--path", checkpoint, "--gen-subset", "test")
    return Step(("fairseq-generate", *places, "--beam", str(table.beam), *table.decoding), output)
