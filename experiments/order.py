"""The order of a table's work, in which it is useful wherever it stops."""

from collections.abc import Callable, Iterable, Iterator

from experiments import runs
from experiments.runs import Task
from experiments.table import Column, Row, Setting, Table

Chosen = Callable[[Column], Setting | None]


def ordered(table: Table, chosen: Chosen) -> Iterator[Task]:
    """Yield all tasks: every column at its default, then tuning, then the other seeds, then the other rows.

    Args:
        chosen: a column's setting, or None as long as the tuning runs of the column are not all recorded.
    """
    first, tuning_seed = table.rows[0], table.rows[0].seeds[0]
    yield runs.data_task(table)
    yield from _with_starts(table, first, tuning_seed, _tuned(table, first, tuning_seed, chosen))
    for row in table.rows:
        for seed in row.seeds:
            if (row, seed) != (first, tuning_seed):
                columns = [column for column in table.columns if seed in table.seeds(row, column)]
                students = (task for column in columns for task in _student(table, row, seed, column, chosen))
                yield from _with_starts(table, row, seed, students)


def _tuned(table: Table, row: Row, seed: int, chosen: Chosen) -> Iterator[Task]:
    for column in table.columns:
        yield runs.student_task(table, row, seed, column, column.settings[0])
    for column in table.columns:
        for setting in column.settings[1:]:
            yield runs.student_task(table, row, seed, column, setting)
        yield from _measured(table, row, seed, column, chosen(column))


def _student(table: Table, row: Row, seed: int, column: Column, chosen: Chosen) -> Iterator[Task]:
    setting = chosen(column)
    if setting is not None:
        yield runs.student_task(table, row, seed, column, setting)
    yield from _measured(table, row, seed, column, setting)


def _measured(table: Table, row: Row, seed: int, column: Column, setting: Setting | None) -> Iterator[Task]:
    """Yield what only a chosen setting has: its output on test, and the average of its last checkpoints."""
    if setting is None:
        yield runs.undecided(row, seed, column)
        return
    student = runs.student_task(table, row, seed, column, setting)
    yield runs.decoding_task(table, student)
    yield runs.average_task(table, student)


def _with_starts(table: Table, row: Row, seed: int, students: Iterable[Task]) -> Iterator[Task]:
    """Yield the warm start before all students, and the teacher and a column's own start before who needs them.

    Where students start fresh, the warm start is the teacher's, too.
    """
    warm = runs.warm_task(table, row, seed)
    others = [warm, runs.teacher_task(table, row, seed)]
    others += [runs.warm_task(table, row, seed, column) for column in table.columns if column.warm]
    others += [runs.teacher_task(table, row, seed, column) for column in table.columns if column.teacher]
    waiting = {task.name: task for task in others}

    def with_needs(task: Task) -> Iterator[Task]:
        for name in task.needs:
            if name in waiting:
                yield from with_needs(waiting.pop(name))
        yield task

    if not table.fresh:
        yield waiting.pop(warm.name)
    for task in students:
        yield from with_needs(task)
