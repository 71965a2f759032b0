"""Which checkpoints go, and when."""

import pytest

from experiments.checkpoints import checkpoints, kept_bytes, superfluous
from experiments.records import Records
from experiments.runs import average_task
from experiments.table import at
from tests.experiments.made import TABLE, record, student

ROW, COLUMN = TABLE.rows[0], TABLE.columns[0]
NAMES = ("checkpoint_last.pt", "checkpoint_best.pt", "checkpoint_1_3.pt", "checkpoint_1_6.pt", "average.pt")


@pytest.fixture
def records(tmp_path):
    for setting in COLUMN.settings:
        folder = tmp_path / student(ROW, 1, COLUMN, setting).name
        folder.mkdir(parents=True)
        for name in NAMES:
            (folder / name).write_bytes(b"12345")
    return Records(tmp_path / "results")


def tidied(records, tmp_path):
    """What is left of each setting's checkpoints."""
    for path in list(superfluous(TABLE, records, tmp_path)):
        path.unlink()
    folders = (tmp_path / student(ROW, 1, COLUMN, setting).name for setting in COLUMN.settings)
    return [{path.name for path in checkpoints(folder)} for folder in folders]


def test_a_run_without_a_record_keeps_all(records, tmp_path):
    assert tidied(records, tmp_path) == [set(NAMES)] * 3
    assert kept_bytes(tmp_path / "arch_a/seed-1/plain/lr-1") == 25


def test_until_its_column_is_decided_a_run_keeps_what_may_be_read(records, tmp_path):
    records.write(record(student(ROW, 1, COLUMN, at(lr=1))))
    may = {"checkpoint_best.pt", "checkpoint_1_3.pt", "checkpoint_1_6.pt"}
    assert tidied(records, tmp_path) == [set(NAMES), may, set(NAMES)]


def test_then_only_the_chosen_one_keeps_any_and_after_its_average_the_best_alone(records, tmp_path):
    for setting, dev in zip(COLUMN.settings, (30.0, 32.0, 31.0), strict=True):
        records.write(record(student(ROW, 1, COLUMN, setting), dev))
    assert tidied(records, tmp_path) == [set(), {"checkpoint_best.pt", "checkpoint_1_3.pt", "checkpoint_1_6.pt"}, set()]
    records.write(record(average_task(TABLE, student(ROW, 1, COLUMN, at(lr=1))), test=30.0))
    assert tidied(records, tmp_path) == [set(), {"checkpoint_best.pt"}, set()]
    assert kept_bytes(tmp_path / "arch_a/seed-1/plain/lr-1") == 5
