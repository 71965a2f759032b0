"""A table's records by row, seed and column, and the tests between them."""

import statistics
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from experiments.records import Record, Records
from experiments.runs import AVERAGE_MARK, Task, student_task, warm_task
from experiments.selection import choose, tuning_records
from experiments.table import Column, Row, Setting, Table


class Cell(NamedTuple):
    """The chosen setting of a column on a row and seed; records are None where they are missing."""

    row: Row
    seed: int
    column: Column
    name: str
    record: Record | None
    average: Record | None


class Results:
    """What the records of a table tell.

    Args:
        table: what is declared.
        folder: of its records.
    """

    def __init__(self, table: Table, folder: Path):
        self.table, self._records = table, Records(folder)

    @cached_property
    def _tuning(self) -> Mapping[str, dict[Setting, Record | None]]:
        return {column.name: tuning_records(self.table, column, self._records) for column in self.table.columns}

    @cached_property
    def _cells(self) -> list[Cell]:
        return [
            self._cell(row, seed, column, chosen)
            for column in self.table.columns
            if (chosen := self.chosen(column)) is not None
            for row in self.table.rows
            for seed in row.seeds
        ]

    def tuning(self, column: Column) -> dict[Setting, Record | None]:
        """Return the record of every setting on the first seed of the first row."""
        return self._tuning[column.name]

    def chosen(self, column: Column) -> Setting | None:
        """Return a column's setting, or None as long as it is undecided."""
        return choose(self.tuning(column))

    def chosen_cells(self) -> list[Cell]:
        """Return the cells of all decided columns, by column, then row, then seed."""
        return self._cells

    def starts(self, row: Row, seed: int) -> list[tuple[Column | None, Record]]:
        """Return the records of the warm start of all columns (None) and of those that have their own."""
        starts = self._starts(row, seed)
        return [(column, record) for column, start in starts for record in self._records.versions(start.name)]

    def step_s(self, row: Row, column: Column) -> float | None:
        """Return the median of seconds a step over all runs of a column on a row."""
        names = [
            student_task(self.table, row, seed, column, setting).name
            for seed in row.seeds
            for setting in column.settings
        ]
        records = [record for name in names if (record := self._records.read(name)) is not None]
        seconds = [record.step_s for record in records if record.step_s is not None]
        return statistics.median(seconds) if seconds else None

    def p_value(self, cell: Cell, baseline: Column) -> float | None:
        """Return the p of a cell against a baseline of the same row and seed.

        Returns:
            None if one of them is not decoded, or if they have different warm starts.
        """
        other = self._at(cell.row, cell.seed, baseline)
        if other is None or cell.column == baseline or not _is_decoded(cell.record) or not _is_decoded(other.record):
            return None
        assert cell.record is not None and other.record is not None
        if cell.record.warm_start != other.record.warm_start:
            return None
        return self._tested(cell.name, other.name)

    def p_of_average(self, cell: Cell) -> float | None:
        """Return the p of the average of the last checkpoints against the best one."""
        if not _is_decoded(cell.record) or not _is_decoded(cell.average):
            return None
        return self._tested(cell.name + AVERAGE_MARK, cell.name)

    def all_records(self) -> Iterator[Record]:
        """Yield the records of all students, and the averages and warm starts that belong to the table."""
        for row in self.table.rows:
            for seed in row.seeds:
                names = [record.run for _, record in self.starts(row, seed)]
                for column in self.table.columns:
                    names += [student_task(self.table, row, seed, column, each).name for each in column.settings]
                names += [cell.name + AVERAGE_MARK for cell in self._cells if (cell.row, cell.seed) == (row, seed)]
                yield from (record for name in names if (record := self._records.read(name)) is not None)

    def _tested(self, name: str, baseline: str) -> float:
        # fairseq, which comes with the test, takes seconds to import, and lists of runs can do without.
        from experiments.significance import p_value

        return p_value(self._records.statistics(name), self._records.statistics(baseline))

    def _starts(self, row: Row, seed: int) -> list[tuple[Column | None, Task]]:
        own = [column for column in self.table.columns if column.warm]
        return [(column, warm_task(self.table, row, seed, column)) for column in (None, *own)]

    def _cell(self, row: Row, seed: int, column: Column, setting: Setting) -> Cell:
        name = student_task(self.table, row, seed, column, setting).name
        read = self._records.read
        return Cell(row, seed, column, name, read(name), read(name + AVERAGE_MARK))

    def _at(self, row: Row, seed: int, column: Column) -> Cell | None:
        cells = (cell for cell in self._cells if (cell.row, cell.seed, cell.column) == (row, seed, column))
        return next(cells, None)


def _is_decoded(record: Record | None) -> bool:
    return record is not None and record.test is not None
