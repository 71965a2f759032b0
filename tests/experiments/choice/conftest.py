"""Tiny students for the choice table: in float64 without a checkpoint on disk, and in files for its command."""

import pytest

from fairseq_dlf.translation.tools.teaching_task import TeachingTask
from tests.translation import made_lessons as made
from tests.translation.tiny_runs import STUDENT, make_data_bin, train


class DoubleCheckpoint(made.Checkpoint):
    """A checkpoint whose student computes in float64."""

    def fresh(self, seed):
        return super().fresh(seed).double()


@pytest.fixture
def taught(monkeypatch):
    """Builds the task of teaching a student of a dozen types, with so many dev sentences."""
    monkeypatch.setattr(made, "Checkpoint", DoubleCheckpoint)

    def build(sentences=12, **options):
        found = made.made_lessons(monkeypatch, **options)
        found.data["valid"] = found.task.pairs(sentences, seed=3)
        return TeachingTask(found.task, found.lessons, None, 1.0, made.CPU)

    return build


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """A data-bin with twelve dev sentences, and a student that has hardly begun."""
    data = make_data_bin(tmp_path_factory.mktemp("data"), valid=12)
    folder = tmp_path_factory.mktemp("student")
    train(data, folder, *STUDENT, "--max-update=1", "--disable-validation")
    return data, folder / "checkpoint_last.pt"
