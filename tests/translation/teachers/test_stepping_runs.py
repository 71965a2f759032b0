"""A teacher that steps by its gradient in `fairseq-train`: taught, resumed, and used by a student."""

import re

import pytest
import torch

from fairseq_dlf.translation.teachers.files import read_teacher
from tests.translation.tiny_runs import STUDENT, TEACHING, dictionary, parameters, train

FORM = "token_network(linear=1,width=3,depth=1)"
STEPPING = ["--teacher-kind=lstm(width=3,layers=1,step=0.1)", "--estimator=two_unrolls", f"--form={FORM}"]


@pytest.fixture(scope="module")
def warm(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("warm")
    train(data, folder, *STUDENT, "--max-update=1", "--disable-validation")
    return folder / "checkpoint_last.pt"


@pytest.mark.slow
def test_phi_is_stepped_resumed_and_used_by_a_student(data, warm, tmp_path, caplog):
    caplog.set_level("INFO")
    teaching = [*TEACHING, *STEPPING, f"--student={warm}", "--measure=sharpened_likelihood", "--candidates=8"]
    train(data, tmp_path / "straight", *teaching, "--max-update=2", "--log-format=simple", "--log-interval=1")
    moves = [float(move) for move in re.findall(r"phi_step_norm=([\d.e-]+)", caplog.text)]
    assert len(moves) >= 2 and min(moves) > 0.0
    for updates in (1, 2):
        train(data, tmp_path / "resumed", *teaching, f"--max-update={updates}")
    straight, resumed = (parameters(tmp_path / name / "checkpoint_last.pt") for name in ("straight", "resumed"))
    assert straight.keys() == resumed.keys() and "teacher.hidden" in straight
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in straight.items())
    read = read_teacher(str(tmp_path / "straight/checkpoint_last.safetensors"), dictionary())
    assert (read.header.kind, read.header.form) == ("lstm", FORM) and read.teacher.hidden.any()
    moved = read.teacher.phi[:2] - torch.tensor([1.0, 0.0])
    assert moved.all() and moved.abs().max() <= 0.2
    caplog.clear()
    student = [*STUDENT, "--criterion=dlf", f"--teacher={read.path}", "--progress-sentences=2", "--max-update=2"]
    train(data, tmp_path / "student", *student, "--log-format=simple", "--log-interval=1", "--disable-validation")
    means = [float(mean) for mean in re.findall(r"phi_mean=(-?[\d.]+)", caplog.text)]
    assert means[:2] == pytest.approx([read.teacher.phi.mean().item()] * 2, abs=1e-4)
