"""Training curves from logs in both formats."""

import json

import pytest

from fairseq_dlf.core.support.errors import InputError, MissingFileError
from fairseq_dlf.translation.reports.curves import read_curve, read_system

HEAD = "2026-01-01 00:00:00 | INFO | "


def simple(update, **figures):
    listed = " | ".join(f"{name} {value}" for name, value in figures.items())
    return f"{HEAD}valid | epoch 001 | valid on 'valid' subset | loss 2.5 | {listed} | num_updates {update}"


def as_json(update, kind="valid", **figures):
    found = {"epoch": 1, **{f"{kind}_{name}": str(value) for name, value in figures.items()}}
    return f"{HEAD}{kind} | " + json.dumps({**found, f"{kind}_num_updates": str(update)})


@pytest.fixture
def log(tmp_path):
    def write(name, *lines):
        path = tmp_path / name
        path.write_text("\n".join(["2026 | INFO | fairseq.trainer | noise: bleu 99", *lines]) + "\n", encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize("line", [simple, as_json])
def test_bleu_is_read_by_update(log, line):
    curve = read_curve(log("a", line(10, bleu=3.5), line(20, bleu=7), line(30, bleu=6.5)))
    assert curve.points("bleu") == {10: 3.5, 20: 7.0, 30: 6.5}
    assert curve.best == (20, 7.0) and not curve.of_teacher


def test_the_first_of_equal_updates_is_the_best(log):
    assert read_curve(log("a", simple(10, bleu=7), simple(20, bleu=7))).best == (10, 7.0)


def test_a_continued_training_replaces_what_came_before(log):
    curve = read_curve(log("a", simple(10, bleu=3), simple(20, bleu=4), simple(10, bleu=5), simple(30, bleu=6)))
    assert curve.points("bleu") == {10: 5.0, 20: 4.0, 30: 6.0}


def test_logs_of_teachers_are_known_by_their_episodes(log):
    train = as_json(2, kind="train", horizon=60)
    curve = read_curve(log("a", as_json(2, bleu=30, phi_moved=0.01), train))
    assert curve.of_teacher and curve.points("phi_moved") == {2: 0.01}


def test_seeds_are_compared_where_all_were_validated(log):
    paths = [log("a", simple(10, bleu=1), simple(20, bleu=2)), log("b", simple(20, bleu=4), simple(30, bleu=5))]
    assert read_system("both", paths).band("bleu") == {20: [2.0, 4.0]}


def test_what_is_no_log_of_bleu_is_refused(log, tmp_path):
    with pytest.raises(MissingFileError, match="the log not found: there is no .*nothing.log"):
        read_curve(tmp_path / "nothing.log")
    with pytest.raises(InputError, match="plain tells no BLEU on dev .1 validations.*--log-format.*--eval-bleu"):
        read_curve(log("plain", simple(10, ppl=3)))
    with pytest.raises(InputError, match="no BLEU on dev .0 validations"):
        read_curve(log("none"))


def test_seeds_without_a_common_update_and_mixed_logs_are_refused(log):
    first, second = log("a", simple(10, bleu=1)), log("b", simple(20, bleu=4))
    with pytest.raises(InputError, match="logs of both have no update at which all were validated"):
        read_system("both", [first, second])
    teacher = log("c", simple(10, bleu=3), f"{HEAD}train | epoch 001 | horizon 60 | num_updates 10")
    with pytest.raises(InputError, match="both has logs of teachers and of students"):
        read_system("both", [first, teacher])
