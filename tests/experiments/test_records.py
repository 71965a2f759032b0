"""Records and statistics on the disk."""

import numpy as np
import pytest

from experiments.records import Records
from experiments.table import at
from fairseq_dlf.core.support.errors import InputError, MissingFileError
from tests.experiments.made import TABLE, record, sentences, student

TASK = student(TABLE.rows[0], 1, TABLE.columns[0], at(lr=1))


@pytest.mark.parametrize("dev, test", [(30.0, 35.0), (30.0, None), (None, None)])
def test_a_record_comes_back_as_it_was(tmp_path, dev, test):
    records, written = Records(tmp_path), record(TASK, dev, test)
    records.write(written)
    assert records.read(TASK.name) == written
    assert records.path(TASK.name) == tmp_path / "arch_a/seed-1/plain/lr-1.json"


def test_there_may_be_no_record(tmp_path):
    assert Records(tmp_path).read(TASK.name) is None


@pytest.mark.parametrize("content", ["{", "[]", '{"run": "x"}'])
def test_a_damaged_record_is_named(tmp_path, content):
    records = Records(tmp_path)
    records.write(record(TASK))
    records.path(TASK.name).write_text(content)
    with pytest.raises(InputError, match=r"lr-1.json is damaged.* take it from the repository again"):
        records.read(TASK.name)


def test_statistics_come_back_and_are_small(tmp_path):
    records, statistics = Records(tmp_path), sentences(0.7, 1000)
    records.write_statistics(TASK.name, statistics)
    assert np.array_equal(records.statistics(TASK.name), statistics)
    assert (tmp_path / "arch_a/seed-1/plain/lr-1.npy").stat().st_size < 7000


def test_missing_and_damaged_statistics_are_named(tmp_path):
    records = Records(tmp_path)
    with pytest.raises(MissingFileError, match=r"no .*lr-1.npy, which the test of significance needs"):
        records.statistics(TASK.name)
    records.write_statistics(TASK.name, sentences(0.7))
    path = tmp_path / f"{TASK.name}.npy"
    for content in (path.read_bytes()[:300], b"", b"text"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"lr-1.npy is damaged"):
            records.statistics(TASK.name)
    np.save(path, np.zeros((3, 4)))
    with pytest.raises(InputError, match=r"lr-1.npy is damaged"):
        records.statistics(TASK.name)
