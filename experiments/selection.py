"""Which setting of a column is chosen, by dev alone, and whether a better one may lie outside of what was tried."""

from collections.abc import Mapping
from typing import NamedTuple

from experiments.records import Record, Records
from experiments.runs import student_task
from experiments.table import Column, Setting, Table


class Edge(NamedTuple):
    """An axis along which the chosen setting is the last one that was tried."""

    axis: str
    lowest: bool


def tuning_records(table: Table, column: Column, records: Records) -> dict[Setting, Record | None]:
    """Return the record of every setting on the first seed of the first row."""
    row = table.rows[0]
    return {
        setting: records.read(student_task(table, row, row.seeds[0], column, setting).name)
        for setting in column.settings
    }


def choose(found: Mapping[Setting, Record | None]) -> Setting | None:
    """Return the setting with the highest BLEU on dev among all validations, the first one of equals.

    Returns:
        None as long as a record is missing, or if every run diverged.
    """
    scores: dict[Setting, float] = {}
    for setting, record in found.items():
        if record is None:
            return None
        if record.best_bleu is not None and not record.diverged:
            scores[setting] = record.best_bleu
    return max(scores, key=lambda setting: scores[setting], default=None)


def edges(column: Column, chosen: Setting) -> list[Edge]:
    """Return the axes at whose end the chosen setting lies, among settings that differ from it in that axis only."""
    found = []
    values = dict(chosen.values)
    for axis, value in values.items():
        if isinstance(value, str):
            continue
        rest = {name: other for name, other in values.items() if name != axis}
        line = [
            other[axis]
            for other in map(dict, (setting.values for setting in column.settings))
            if axis in other and {name: each for name, each in other.items() if name != axis} == rest
        ]
        numbers = [float(each) for each in line if not isinstance(each, str)]
        if len(numbers) > 1 and value in (min(numbers), max(numbers)):
            found.append(Edge(axis, lowest=value == min(numbers)))
    return found
