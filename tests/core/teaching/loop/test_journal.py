"""The log of a teacher's steps: what is appended is read, and what is damaged is named with its line."""

import dataclasses
import errno
import json
import math
from pathlib import Path

import pytest

from fairseq_dlf.core.support.errors import DiskError, InputError
from fairseq_dlf.core.teaching.loop.journal import TeacherStep, append_step, read_steps, replace_steps


@pytest.fixture
def path(tmp_path):
    return tmp_path / "teaching.jsonl"


def step(number, **changes):
    plain = TeacherStep(number, 0.1, 0.8, 1.5, None, 0.2, 0.01, 0.3, 2.5, 1.1, False, 3.0)
    return dataclasses.replace(plain, **changes)


def test_steps_are_read_as_appended(path):
    steps = [
        step(0, measure_before=None, measure_after=None, student_loss=None, dev_accuracy=0.25),
        step(1),
        step(2, measure_after=math.nan, student_loss=math.inf, collapsed=True),
    ]
    for one in steps:
        append_step(path, one)
    found = read_steps(path)
    assert found[:2] == steps[:2]
    assert math.isnan(found[2].measure_after) and found[2].collapsed and found[2].student_loss == math.inf


def test_a_missing_log_is_an_empty_one(path):
    assert read_steps(path) == []
    path.touch()
    assert read_steps(path) == []


def test_a_torn_last_line_is_left_out(path):
    for number in range(3):
        append_step(path, step(number))
    whole = path.read_text()
    for lost in (2, 40, 200):
        path.write_text(whole[:-lost])
        assert [found.step for found in read_steps(path)] == [0, 1], lost


def test_a_log_is_replaced_whole_or_not_at_all(path, monkeypatch):
    for number in range(3):
        append_step(path, step(number))
    replace_steps(path, [step(0), step(1)])
    assert read_steps(path) == [step(0), step(1)]

    def killed(self, *given, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", killed)
    with pytest.raises(KeyboardInterrupt):
        replace_steps(path, [])
    assert [row.step for row in read_steps(path)] == [0, 1]
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def test_a_full_disk_is_named(path, monkeypatch):
    def full(self, *given, **named):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(DiskError, match="the disk is full: .*teaching.jsonl could not be written"):
        append_step(path, step(0))


@pytest.mark.parametrize("line", [b'{"step": 1', b"nonsense", b"17", b"\xff\xfe", b"[" * 100_000, b"null"])
def test_another_damaged_line_is_refused(path, line):
    append_step(path, step(0))
    whole = path.read_bytes()
    for rest in (b"\n", b"\n" + whole):
        path.write_bytes(whole + line + rest)
        with pytest.raises(InputError, match=r"teaching.jsonl is damaged.*remove line 2, or teach again"):
            read_steps(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"leverage": "much"}, "leverage is 'much', wanted a number"),
        ({"leverage": [1]}, r"leverage is \[1\], wanted a number"),
        ({"leverage": math.nan}, "leverage is nan, wanted a finite number"),
        ({"dphi_norm": 10**400}, "dphi_norm is .*, wanted a finite number"),
        ({"step": "one"}, "step is 'one', wanted a whole number"),
        ({"step": -1}, "step is -1, but must not be negative"),
        ({"collapsed": None}, "collapsed is None, wanted true or false"),
        ({"dev_accuracy": 1.5}, "dev_accuracy is 1.5, but must lie between 0 and 1"),
        ({"measure_after": math.nan}, "measure_after is nan, but must lie between 0 and 1"),
        ({"student_loss": math.nan}, "student_loss is nan, but the episode did not collapse"),
        ({"mood": 1}, "unknown fields 'mood'"),
    ],
)
def test_a_wrong_field_is_named(path, changes, words):
    line = json.dumps({**dataclasses.asdict(step(1)), **changes})
    path.write_text(line + "\n")
    with pytest.raises(InputError, match=f"teaching.jsonl is damaged.*{words}.*remove line 1"):
        read_steps(path)


def test_a_line_without_some_fields_is_refused(path):
    path.write_text('{"step": 1}\n')
    with pytest.raises(InputError, match="teaching.jsonl is damaged.*lacks the fields 'collapsed'"):
        read_steps(path)


@pytest.mark.parametrize("order", [(0, 1, 1), (0, 2, 1), (1, 0)])
def test_steps_that_come_twice_or_in_reverse_are_refused(path, order):
    for number in order:
        append_step(path, step(number))
    with pytest.raises(InputError, match=f"step {order[-1]} comes after step {order[-2]}; remove line {len(order)}"):
        read_steps(path)


def test_a_folder_is_no_log(tmp_path):
    with pytest.raises(InputError, match="cannot be read .Is a directory.; delete it and teach again"):
        read_steps(tmp_path)
