"""Records, logs and paths of Φ: what is written is read, and what is damaged is named."""

import dataclasses
import json
import math
import os

import pytest
import torch
from safetensors.torch import save_file

from fairseq_dlf.core.support.tensor_file import write_tensor_file
from fairseq_dlf.images.records.coefficients import CoefficientPath, read_coefficients, write_coefficients
from fairseq_dlf.images.records.teaching import TeacherStep, append_step, read_steps
from fairseq_dlf.images.records.training import find_runs, read_record, run_files, write_record
from tests.images.made_records import record, write_run


def step(number, **changes):
    plain = TeacherStep(number, 0.1, 0.8, 1.5, None, 0.2, 0.01, 0.3, 2.5, 1.1, False, 3.0)
    return dataclasses.replace(plain, **changes)


# Records --------------------------------------------------------------------------


def test_a_record_is_read_as_written(tmp_path):
    path = tmp_path / "record.json"
    written = record(seed=3, loss="dlf", taught_on="lenet", wrong=(1, 4), curve=(0.5, 0.25))
    write_record(path, written)
    assert read_record(path) == written
    assert [row.dev_accuracy for row in read_record(path).curve] == [0.5, 0.75]
    assert [found.name for found in tmp_path.iterdir()] == ["record.json"]


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


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"null", b'{"curve": 3}', b'{"curve": []}', b"\xff\xfe"])
def test_a_damaged_record_is_refused(tmp_path, content):
    path = tmp_path / "record.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"record.json is no record of a training, or is damaged \(.*\): train again"):
        read_record(path)


def test_a_record_with_other_fields_is_refused(tmp_path):
    path = tmp_path / "record.json"
    write_record(path, record(seed=1))
    fields = json.loads(path.read_text())
    del fields["seed"]
    path.write_text(json.dumps({**fields, "mood": "good"}))
    with pytest.raises(ValueError, match=r"than a RunRecord .*missing: \['seed'\], unknown: \['mood'\]"):
        read_record(path)
    fields = json.loads(path.read_text())
    del fields["curve"][0]["epoch"]
    path.write_text(json.dumps(fields))
    with pytest.raises(ValueError, match=r"than a EpochFigures .*missing: \['epoch'\]"):
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
    with pytest.raises(ValueError, match="there is no folder .*nowhere: pass --out folders of `train`"):
        find_runs([tmp_path / "nowhere"])
    (tmp_path / "seed1").mkdir()
    with pytest.raises(ValueError, match=r"holds no finished training .*run `train` to its end"):
        find_runs([tmp_path])


def test_seeds_of_different_settings_are_no_run(tmp_path):
    write_run(tmp_path, [record(seed=1), record(seed=2, loss="smooth")])
    with pytest.raises(
        ValueError, match="seeds of .* different settings .*cross_entropy.*smooth.*folders of their own"
    ):
        find_runs([tmp_path])


# The teacher's log ----------------------------------------------------------------


def test_steps_are_read_as_appended(tmp_path):
    path = tmp_path / "teaching.jsonl"
    steps = [
        step(0, measure_before=None, measure_after=None, student_loss=None, dev_accuracy=0.25),
        step(1),
        step(2, measure_after=math.nan, collapsed=True),
    ]
    for one in steps:
        append_step(path, one)
    found = read_steps(path)
    assert found[:2] == steps[:2]
    assert math.isnan(found[2].measure_after) and found[2].collapsed


def test_a_torn_last_line_is_left_out(tmp_path):
    path = tmp_path / "teaching.jsonl"
    for number in range(3):
        append_step(path, step(number))
    whole = path.read_text()
    for lost in (2, 40, 200):
        path.write_text(whole[:-lost])
        assert [found.step for found in read_steps(path)] == [0, 1], lost


@pytest.mark.parametrize("line", ['{"step": 1', "nonsense", "17"])
def test_another_damaged_line_is_refused(tmp_path, line):
    path = tmp_path / "teaching.jsonl"
    append_step(path, step(0))
    whole = path.read_text()
    for rest in ("\n", "\n" + whole):
        path.write_text(whole + line + rest)
        with pytest.raises(ValueError, match=r"teaching.jsonl is damaged at line 2 .*: remove the line"):
            read_steps(path)


def test_a_line_with_other_fields_is_refused(tmp_path):
    path = tmp_path / "teaching.jsonl"
    path.write_text('{"step": 1}\n')
    with pytest.raises(ValueError, match="has other fields than a TeacherStep of this version .*'leverage'"):
        read_steps(path)


# Φ along a run --------------------------------------------------------------------


def test_coefficients_are_read_as_written(tmp_path):
    path = tmp_path / "coefficients.safetensors"
    written = CoefficientPath(torch.randn(2, 3, 3), torch.tensor([0.0, 1.5]), ("a", "b", "c"), "mnist", "mlp")
    write_coefficients(path, written)
    found = read_coefficients(path)
    assert torch.equal(found.coefficients, written.coefficients) and torch.equal(found.epochs, written.epochs)
    assert (found.class_names, found.data, found.model) == (("a", "b", "c"), "mnist", "mlp")


def test_files_of_another_kind_are_no_coefficients(tmp_path):
    path = tmp_path / "coefficients.safetensors"
    path.write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="is not a safetensors file, or is damaged"):
        read_coefficients(path)
    save_file({"coefficients": torch.eye(2)}, path)
    with pytest.raises(ValueError, match="has no coefficients header"):
        read_coefficients(path)
    write_tensor_file(path, "coefficients", {"coefficients": torch.ones(1, 2, 2)}, {"data": "mnist"})
    with pytest.raises(ValueError, match="lacks 'epochs', which Φ along a run needs: train or teach again"):
        read_coefficients(path)
