"""Teachers of regularisers that `fairseq-train` trains, and students that it trains with their files."""

import re

import pytest
import torch

from fairseq_dlf.translation.teachers.files import read_teacher, regularisers_of
from tests.translation.tiny_runs import STUDENT, TEACHING, dictionary, train

NAMES = "r_drop(start=0.3),self_distillation,label_smoothing(start=0.1)"


@pytest.fixture(scope="module")
def warm(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("warm")
    train(data, folder, *STUDENT, "--max-update=1", "--disable-validation")
    return folder / "checkpoint_last.pt"


def test_weights_are_taught_exported_and_used_by_a_student(data, warm, tmp_path, caplog):
    caplog.set_level("INFO")
    teaching = [*TEACHING, "--teacher-kind=schedule(knots=2)", "--form=bins(number=2,linear=1)", "--micro-batches=2"]
    teaching += [f"--regularisers={NAMES}", f"--student={warm}", "--max-update=2", "--phi-start=0.5"]
    train(data, tmp_path / "teacher", *teaching, "--log-format=simple", "--log-interval=1")
    read = read_teacher(str(tmp_path / "teacher/checkpoint_last.safetensors"), dictionary())
    assert ",".join(each.spec for each in regularisers_of(read)) == NAMES
    assert f"|regularisers:{NAMES}|" in read.header.signature
    moved = read.teacher.knots - torch.tensor([0.5, 0.5, 0.0, 0.0, 0.3, 0.0, 0.1]).unsqueeze(1)
    assert (moved[[0, 1, 4, 6]].abs() > 1e-6).all() and read.teacher.knots[4:].min() >= 0
    first = re.search(r"1 / 2 .*w_r_drop=([\d.]+), w_self_distillation=([\d.]+)", caplog.text)
    assert (float(first[1]), float(first[2])) == (0.3, 0.0)
    caplog.clear()
    student = [*STUDENT, "--criterion=dlf", f"--teacher={read.path}", "--progress-sentences=2", "--max-update=4"]
    train(data, tmp_path / "student", *student, "--log-format=simple", "--log-interval=4", "--disable-validation")
    logged = {name: float(value) for name, value in re.findall(r"(\w+)=([\d.]+)", caplog.text)}
    low, high = read.teacher.knots[4].sort().values.tolist()
    assert low - 1e-4 <= logged["w_r_drop"] <= high + 1e-4
    saved = torch.load(tmp_path / "student/checkpoint_last.pt", weights_only=True)
    assert set(saved["model"]) == set(torch.load(warm, weights_only=True)["model"])
    assert "self_distillation" in saved["extra_state"]["dlf_state"]
