"""Commands that are killed and restarted end where an undisturbed run ends, bit for bit."""

from functools import partial

import pytest

from tests.robustness import made
from tests.robustness.driver import Kills, kill_and_restart

pytestmark = pytest.mark.usefixtures("forking")
SEED = 1
QUICK, SLOW = 3, 50


def judge(found: Kills, figures) -> None:
    figures(seed=SEED, kills=found.kills, folders=found.folders, faults=found.faults)
    assert found.faults == []


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A teacher of images."""
    out = tmp_path_factory.mktemp("teacher")
    made.teach(out, steps=2, epochs=1).finish()
    return out / "teacher.safetensors"


def test_a_few_kills_of_teaching_on_images(tmp_path, figures):
    command = partial(made.teach, steps=4, epochs=1)
    found = kill_and_restart(command, tmp_path, QUICK, SEED)
    judge(found, figures)
    assert found.kills >= QUICK


def test_a_few_kills_of_preparation(tmp_path, figures):
    pytest.importorskip("fairseq")
    raw = made.toy_text(tmp_path / "raw", pairs=40)
    command = partial(made.prepare, raw=raw, tokens=60)
    found = kill_and_restart(command, tmp_path / "out", QUICK, SEED)
    judge(found, figures)
    assert found.kills >= QUICK


@pytest.mark.slow
@pytest.mark.timeout(3600)
class TestFiftyKills:
    def kill(self, command, folder, figures):
        found = kill_and_restart(command, folder, SLOW, SEED)
        judge(found, figures)
        assert found.kills >= SLOW

    def test_of_teaching_on_images(self, tmp_path, figures):
        self.kill(made.teach, tmp_path, figures)

    def test_of_training_on_images(self, teacher, tmp_path, figures):
        self.kill(partial(made.train, teacher=teacher), tmp_path, figures)

    def test_of_preparation(self, corpus, tmp_path, figures):
        self.kill(partial(made.prepare, raw=corpus.raw), tmp_path, figures)

    def test_of_teaching_in_fairseq(self, corpus, tmp_path, figures):
        self.kill(partial(made.fairseq_teach, corpus), tmp_path, figures)

    def test_of_a_taught_student_in_fairseq(self, corpus, tmp_path, figures):
        self.kill(partial(made.fairseq_student, corpus), tmp_path, figures)
