"""The command `dlf-student`: the student that a teacher's run goes on with, as a checkpoint, or one line."""

import logging
import shutil

import pytest
import torch
from fairseq import checkpoint_utils
from torch.nn.utils import parameters_to_vector

from fairseq_dlf.translation.tools import student
from tests.translation.tiny_runs import STUDENT, TEACHING, parameters, train


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    """A student, and teachers that went on with it and with a copy of it, and that began anew each time."""
    folder = tmp_path_factory.mktemp("runs")
    train(data, folder / "warm", *STUDENT, "--max-update=1", "--disable-validation")
    warm = folder / "warm/checkpoint_last.pt"
    for name, students in (("on", f"continue:{warm}"), ("two", f"{warm},continue:{warm}"), ("anew", warm)):
        options = [f"--student={students}", "--update-freq=2", "--student-lr=0.5", "--max-update=2"]
        train(data, folder / name, *TEACHING, *options, "--disable-validation")
    return folder


def run(*arguments):
    return student.main([str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def quiet_logging(monkeypatch):
    """A handler that another test of this process has left may write to a stream that ended with it."""
    monkeypatch.setattr(logging, "raiseExceptions", False)


def error_of(capsys, *arguments):
    """The one line that a user sees."""
    assert run(*arguments) == 1
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1
    assert printed.err.startswith("dlf-student: error: ")
    return printed.err


@pytest.mark.parametrize(
    ("name", "member", "kept"), [("on", 1, "continued_student"), ("two", 2, "continued_student_2")]
)
def test_the_student_is_that_of_the_last_episode(runs, tmp_path, capsys, name, member, kept):
    teacher, output, warm = (
        runs / name / "checkpoint_last.pt",
        tmp_path / "student.pt",
        runs / "warm/checkpoint_last.pt",
    )
    assert run(teacher, "--member", member, "--output", output) == 0
    assert "after 2 updates of its teacher" in capsys.readouterr().out
    wanted = torch.load(teacher, weights_only=True)["extra_state"]["DlfTeachingTask"][kept]
    (model,), cfg, _ = checkpoint_utils.load_model_ensemble_and_task([str(output)])
    assert torch.equal(parameters_to_vector(model.parameters()), wanted)
    assert cfg.model._name == "lstm" and parameters(output).keys() == parameters(warm).keys()
    assert not torch.equal(parameters_to_vector(parameters(warm).values()), wanted)
    assert "last_optimizer_state" not in torch.load(output, weights_only=True)


def test_a_student_that_was_moved_is_named(runs, tmp_path, capsys):
    teacher, warm, moved = runs / "on/checkpoint_last.pt", runs / "warm/checkpoint_last.pt", tmp_path / "moved.pt"
    shutil.copy(warm, moved)
    state = torch.load(teacher, weights_only=False)
    state["cfg"]["task"]["student"] = "continue:gone.pt"
    torch.save(state, tmp_path / "teacher.pt")
    output = tmp_path / "student.pt"
    message = error_of(capsys, tmp_path / "teacher.pt", "--output", output)
    assert "gone.pt, which the student began with, is not there: pass it (--student)" in message
    assert not output.exists()
    assert run(tmp_path / "teacher.pt", "--student", moved, "--output", output) == 0


def test_a_start_of_another_size_is_named(runs, data, tmp_path, capsys):
    train(
        data, tmp_path, *STUDENT, "--encoder-layers=2", "--decoder-layers=2", "--max-update=1", "--disable-validation"
    )
    other, teacher = tmp_path / "checkpoint_last.pt", runs / "on/checkpoint_last.pt"
    message = error_of(capsys, teacher, "--student", other, "--output", tmp_path / "student.pt")
    assert "parameters" in message and "pass the checkpoint that it began with (--student)" in message


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("anew", [], "keeps no student 1, which is taught from its start each time"),
        ("two", [], "keeps no student 1"),
        ("on", ["--member", 2], "taught 1 student, but --member is 2: name one of them"),
        ("warm", [], "is no checkpoint of a teacher: pass a checkpoint of --task dlf_teaching"),
        ("on", ["--data", "gone"], "gone"),
    ],
)
def test_what_has_no_such_student_is_named(runs, tmp_path, capsys, name, options, words):
    assert words in error_of(capsys, runs / name / "checkpoint_last.pt", *options, "--output", tmp_path / "student.pt")
