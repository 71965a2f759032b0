"""A small table and records made for it, without any training."""

import numpy as np

from experiments.logs import Validation
from experiments.records import Data, Decoding, Machine, Record, Records
from experiments.runs import AVERAGE_MARK, Task, average_task, decoding_task, student_task, warm_task
from experiments.table import Column, Row, Setting, Table, at

TABLE = Table(
    name="small",
    title="Small",
    prepare=("parallel", "--bpe-tokens", "10"),
    rows=(Row("arch_a", "A", (1, 2), ("--max-epoch", "2")), Row("arch_b", "B", (5,), ("--max-epoch", "3"))),
    columns=(
        Column("plain", "plain loss", ("--criterion", "cross_entropy"), (at(lr=0.3), at(lr=1), at(lr=0.1))),
        Column("taught", "taught loss", ("--criterion", "dlf", "--teacher", "TEACHER/t.pt"), (at(lr=3), at(lr=1))),
    ),
    baselines=("plain",),
    training=("--num-workers", "0"),
    validation=("--eval-bleu",),
    student=("--max-update", "6"),
    teacher=("--task", "dlf_teaching"),
    decoding=("--remove-bpe",),
    last=2,
)
MACHINE = Machine("a processor", 2, 1, {"torch": "2.0"})


def student(row: Row, seed: int, column: Column, setting: Setting, table: Table = TABLE) -> Task:
    return student_task(table, row, seed, column, setting)


def record(task: Task, dev: float | None = 30.0, test: float | None = None, step_s: float = 0.5) -> Record:
    """A record of a training or an average, with the best BLEU at the second of two validations."""
    curve = () if dev is None else (Validation(3, dev - 1, 2.0), Validation(6, dev, 1.9))
    decoder = task if AVERAGE_MARK in task.name else decoding_task(TABLE, task)
    test_part = None if test is None else decoding(decoder.steps[-1].text, test)
    return Record(
        run=task.record,
        command=task.command,
        commit="abc",
        seed=task.seed,
        setting=task.setting,
        data=Data("feed", 20),
        curve=curve,
        best_bleu=dev,
        best_update=None if dev is None else 6,
        train={"loss": 2.5},
        step_s=step_s,
        wall_s=60.0,
        diverged=dev is None,
        machine=MACHINE,
        test=test_part,
    )


def decoding(command: str, bleu: float) -> Decoding:
    return Decoding(command, "abc", 50, bleu, (bleu - 1, bleu + 1), "lc:13a", bleu + 0.01, "none", "cafe")


def sentences(share: float, number: int = 200, seed: int = 0, lengths: np.ndarray | None = None) -> np.ndarray:
    """Statistics of sentences of 8 to 20 words, or of these lengths, whose words are right with this probability."""
    draw = np.random.default_rng(seed)
    length = draw.integers(8, 21, number) if lengths is None else lengths
    right = (draw.random((len(length), 20)) < share) & (np.arange(20) < length[:, None])
    run, matches = right, [right.sum(axis=1)]
    for order in range(1, 4):
        run = run[:, :-1] & right[:, order:]
        matches.append(run.sum(axis=1))
    return np.column_stack([length, length, *matches, *np.maximum(length[:, None] - np.arange(4), 0).T])


def fill(records: Records, rows: int = 2) -> None:
    """Write the records of a whole table: lr 1 is best for both columns."""
    for row in TABLE.rows[:rows]:
        for seed in row.seeds:
            records.write(record(warm_task(TABLE, row, seed), 28.0))
            for number, column in enumerate(TABLE.columns):
                tuned = (row, seed) == (TABLE.rows[0], TABLE.rows[0].seeds[0])
                for setting in column.settings if tuned else (at(lr=1),):
                    chosen = setting == at(lr=1)
                    task = student(row, seed, column, setting)
                    dev, test = (31.0, 35.0 + number + seed / 10) if chosen else (30.0, None)
                    records.write(record(task, dev, test, step_s=0.5 * (1 + number)))
                    if chosen:
                        _fill_measured(records, task, test or 0.0, number, seed)


def _fill_measured(records: Records, task: Task, test: float, number: int, seed: int) -> None:
    average = average_task(TABLE, task)
    records.write(record(average, 31.5, test + 0.5))
    records.write_statistics(task.name, sentences(0.6 + 0.15 * number, seed=seed))
    records.write_statistics(average.record, sentences(0.62 + 0.15 * number, seed=seed))
