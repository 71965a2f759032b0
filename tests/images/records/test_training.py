"""Records of trainings: what is written is read, and what is damaged is named."""

import dataclasses
import json
import math
import os

import pytest

from fairseq_dlf.core.support.errors import InputError, MissingFileError
from fairseq_dlf.images.records.training import find_runs, read_record, run_files, write_record
from tests.images.made_records import record, write_run

# Records --------------------------------------------------------------------------


def test_a_record_is_read_as_written(tmp_path):
    path = tmp_path / "record.json"
    written = record(seed=3, loss="dlf", taught_on="lenet", wrong=(1, 4), curve=(0.5, 0.25))
    write_record(path, written)
    assert read_record(path) == written
    assert [row.dev_accuracy for row in read_record(path).curve] == [0.5, 0.75]
    assert [found.name for found in tmp_path.iterdir()] == ["record.json"]


def test_a_record_names_its_measure_unless_that_is_accuracy(tmp_path):
    path, plain = tmp_path / "record.json", record(wrong=())
    other = dataclasses.replace(plain, measure="AUCPR", test_error=12.3)
    write_record(path, other)
    assert read_record(path) == other
    write_record(path, plain)
    assert "measure" not in path.read_text()
    for changes, words in (({"test_error": 101.0}, "test_error is 101"), ({"test_wrong": (3,)}, "AUCPR counts none")):
        with pytest.raises(InputError, match=words):
            dataclasses.replace(other, **changes)


def test_a_failure_leaves_the_old_record_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "record.json"
    write_record(path, record(seed=1))

    def fail(*_):
        raise OSError("no space")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        write_record(path, record(seed=2))
    assert read_record(path).seed == 1
    assert [found.name for found in tmp_path.iterdir()] == ["record.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"1" * 5000])
def test_what_is_no_json_is_refused(tmp_path, content):
    path = tmp_path / "record.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"record.json is damaged: it (holds no JSON|is not UTF-8) .*train again"):
        read_record(path)


def test_a_folder_is_no_record(tmp_path):
    with pytest.raises(InputError, match="cannot be read .Is a directory.; delete it and train again"):
        read_record(tmp_path)


@pytest.mark.parametrize("content", ["null", "[1]", "3", '"text"', '{"curve": 3}'])
def test_what_is_no_record_is_refused(tmp_path, content):
    path = tmp_path / "record.json"
    path.write_text(content)
    with pytest.raises(InputError, match="record.json is damaged or of another version: its content .*train again"):
        read_record(path)


def test_every_field_of_a_record_is_checked_for_its_type(tmp_path):
    """Null, a list, a mapping, a truth value or another kind of number in place of each field, by its name."""
    path = tmp_path / "record.json"
    write_record(path, record())
    fields = json.loads(path.read_text())
    free = {(name, value) for name in ("teacher", "taught_on") for value in (None, "text")} | {("version", "text")}
    for name in fields:
        for value in (None, [None], {"a": 1}, True, "text", -0.5, math.nan, 10**400):
            path.write_text(json.dumps({**fields, name: value}))
            if not isinstance(value, list | dict) and (name, value) in free:
                assert getattr(read_record(path), name) == value
                continue
            with pytest.raises(InputError, match=rf"record.json is damaged.*{name}") as error:
                read_record(path)
            assert "\n" not in str(error.value) and len(str(error.value)) < 500


def curve_of(**changes):
    return [{**dataclasses.asdict(record().curve[0]), "epoch": 1, **changes}]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"test_wrong": [10**9]}, "test_wrong must be places of the 200 test images"),
        ({"test_wrong": [-1, 1]}, "test_wrong must be places"),
        ({"test_wrong": [1, 0]}, "test_wrong must be places of the 200 test images, ascending"),
        ({"test_wrong": [1, 1]}, "each once"),
        ({"test_wrong": [200, 0]}, "test_wrong must be places"),
        ({"test_error": 0.0}, "test_error is 0.0, but its other figures make it 1"),
        ({"dev_error": 0.0}, "dev_error is 0.0, but its other figures make it 25"),
        ({"test_images": -3}, "test_images is -3, but must be positive"),
        ({"test_images": 0}, "test_images is 0, but must be positive"),
        ({"parameters": 0}, "parameters is 0, but must be positive"),
        ({"elapsed_s": -1.0}, "elapsed_s is -1.0, but must not be negative"),
        ({"loss": "dlf"}, "loss is dlf, but the signature's is cross_entropy"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0, but must be positive"),
        ({"seed": 7}, "seed is 7, but the signature's is 1"),
        ({"best_epoch": 3}, "best_epoch is 3, but must lie between 1 and 2"),
        ({"best_epoch": 0}, "best_epoch is 0"),
        ({"epochs": 3}, r"the curve has the epochs \[1, 2\], but must have 1 to 3"),
        ({"curve": []}, r"the curve has the epochs \[\], but must have 1 to 2"),
        ({"curve": curve_of(dev_accuracy=1.5)}, "dev_accuracy is 1.5, but must lie between 0 and 1"),
        ({"curve": curve_of(updates=0)}, "updates is 0, but must be positive"),
        ({"curve": curve_of(dev_accuracy=None)}, r"curve\[0\].dev_accuracy is None, wanted a number"),
        ({"signature": "nonsense"}, "signature is 'nonsense', but must be that of a training"),
    ],
)
def test_figures_that_cannot_be_are_refused(tmp_path, changes, words):
    path = tmp_path / "record.json"
    write_record(path, record())
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(InputError, match=f"record.json is damaged.*{words}.*delete it and train again"):
        read_record(path)


def test_a_student_that_diverged_leaves_a_record_that_can_be_read(tmp_path):
    path = tmp_path / "record.json"
    written = record()
    row = dataclasses.replace(written.curve[1], train_loss=math.inf)
    write_record(path, dataclasses.replace(written, curve=(written.curve[0], row)))
    assert read_record(path).curve[1].train_loss == math.inf


def test_a_record_with_other_fields_is_refused(tmp_path):
    path = tmp_path / "record.json"
    write_record(path, record(seed=1))
    fields = json.loads(path.read_text())
    path.write_text(json.dumps({**fields, "mood": "good"}))
    with pytest.raises(InputError, match="its content has the unknown fields 'mood'"):
        read_record(path)
    del fields["curve"][0]["epoch"]
    path.write_text(json.dumps(fields))
    with pytest.raises(InputError, match=r"curve\[0\] lacks the fields 'epoch'"):
        read_record(path)


# Runs -----------------------------------------------------------------------------


def test_runs_are_found_with_their_seeds_in_order(tmp_path):
    write_run(tmp_path / "many", [record(seed=seed) for seed in (10, 2, 1)])
    (tmp_path / "single").mkdir()
    write_record(tmp_path / "single" / "record.json", record(seed=7))
    (tmp_path / "many" / "rates" / "0.1").mkdir(parents=True)
    write_record(tmp_path / "many" / "rates" / "0.1" / "record.json", record(seed=99))
    many, single = find_runs([tmp_path / "many", tmp_path / "single"])
    assert (many.name, many.folder) == ("many", tmp_path / "many")
    assert [found.seed for found in many.records] == [1, 2, 10]
    assert (single.name, [found.seed for found in single.records]) == ("single", [7])
    files = run_files(tmp_path / "many", "record.json")
    assert [path.parent.name for path in files] == ["seed1", "seed2", "seed10"]


def test_folders_without_a_training_are_refused(tmp_path):
    with pytest.raises(MissingFileError, match="there is no folder .*nowhere: pass folders that `train` has written"):
        find_runs([tmp_path / "nowhere"])
    (tmp_path / "seed1").mkdir()
    with pytest.raises(InputError, match=r"holds no finished training .*run `train` to its end"):
        find_runs([tmp_path])


def test_seeds_of_different_settings_are_no_run(tmp_path):
    write_run(tmp_path, [record(seed=1), record(seed=2, loss="smooth")])
    with pytest.raises(
        ValueError, match="seeds of .* different settings .*cross_entropy.*smooth.*folders of their own"
    ):
        find_runs([tmp_path])
