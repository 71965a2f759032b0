"""Which setting is chosen, and when it lies at the edge of what was tried."""

import pytest

from experiments.records import Records
from experiments.selection import Edge, choose, edges, tuning_records
from experiments.table import Column, at
from tests.experiments.made import TABLE, record, student

ROW, COLUMN = TABLE.rows[0], TABLE.columns[0]


def found(*devs):
    return {
        setting: None if dev == "missing" else record(student(ROW, 1, COLUMN, setting), dev)
        for setting, dev in zip(COLUMN.settings, devs, strict=True)
    }


@pytest.mark.parametrize(
    "devs, chosen",
    [
        ((30.0, 31.0, 29.0), at(lr=1)),
        ((31.0, 31.0, 29.0), at(lr=0.3)),
        ((30.0, None, 29.0), at(lr=0.3)),
        ((30.0, 31.0, "missing"), None),
        ((None, None, None), None),
    ],
    ids=["best", "first of equals", "one diverged", "one missing", "all diverged"],
)
def test_choice(devs, chosen):
    assert choose(found(*devs)) == chosen


def test_only_the_first_seed_of_the_first_row_counts(tmp_path):
    records = Records(tmp_path)
    for seed in (1, 2):
        records.write(record(student(ROW, seed, COLUMN, at(lr=1)), 30.0 + seed))
    kept = tuning_records(TABLE, COLUMN, records)
    assert [each and each.best_bleu for each in kept.values()] == [None, 31.0, None]


GRID = Column(
    "grid",
    "grid",
    (),
    (
        at(label_smoothing=0.1, lr=1),
        at(label_smoothing=0.2, lr=1),
        at(label_smoothing=0.3, lr=1),
        at(label_smoothing=0.1, lr=0.3),
        at(label_smoothing=0.5, lr=9, baseline="self"),
    ),
)


@pytest.mark.parametrize(
    "column, chosen, ends",
    [
        (COLUMN, at(lr=0.3), []),
        (COLUMN, at(lr=1), [Edge("lr", lowest=False)]),
        (COLUMN, at(lr=0.1), [Edge("lr", lowest=True)]),
        (GRID, at(label_smoothing=0.1, lr=1), [Edge("label_smoothing", True), Edge("lr", False)]),
        (GRID, at(label_smoothing=0.2, lr=1), []),
        (GRID, at(label_smoothing=0.5, lr=9, baseline="self"), []),
    ],
)
def test_edges(column, chosen, ends):
    assert edges(column, chosen) == ends
