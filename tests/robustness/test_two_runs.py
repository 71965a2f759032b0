"""Two runs in one folder: the second is refused by name, the first ends as if alone. A finished run changes nothing."""

import time
from functools import partial

import pytest

from fairseq_dlf.images.command_line import main as images
from tests.robustness import made
from tests.robustness.driver import contents_of, difference, last_line
from tests.robustness.readers import RefusedError, by_command

pytestmark = pytest.mark.usefixtures("forking")


@pytest.fixture
def lines(corpus, tmp_path):
    """Commands by name, as functions of a folder."""
    made.teach(tmp_path / "taught", steps=1, epochs=1).finish()
    return {
        "images teach": partial(made.teach, steps=20),
        "images train": partial(made.train, teacher=tmp_path / "taught/teacher.safetensors"),
        "dlf-prepare": partial(made.prepare, raw=corpus.raw, tokens=600),
        "fairseq-train, teaching": partial(made.fairseq_teach, corpus),
        "fairseq-train, a student": partial(made.fairseq_student, corpus, updates=40),
    }


def test_a_second_run_on_images_is_refused(tmp_path):
    out = tmp_path / "out"
    first = made.teach(out, steps=30).start()
    while not (out / "teaching.jsonl").exists():
        assert first.runs(), first.out() + first.err()
        time.sleep(0.01)
    with pytest.raises(RefusedError, match=f"another process runs in {out}"):
        by_command(images, *made.teach(out, steps=1).arguments)
    assert first.runs()
    first.kill()
    first.wait()


COMMANDS = ["images teach", "images train", "dlf-prepare", "fairseq-train, teaching", "fairseq-train, a student"]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_second_run_is_refused_by_name(name, lines, tmp_path):
    line, out = lines[name], tmp_path / "out"
    line(tmp_path / "straight").finish()
    first = line(out).start()
    while not (out.exists() and any(out.iterdir())):
        assert first.runs(), first.out() + first.err()
    second = line(out).start().wait()
    assert second.status == 1 and str(out) in last_line(second.printed), second.printed[-2000:]
    assert "another" in last_line(second.printed)
    assert first.wait().status == 0
    assert difference(contents_of(tmp_path / "straight"), contents_of(out)) is None


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_finished_run_that_is_started_again_changes_nothing(name, lines, tmp_path):
    line, out = lines[name], tmp_path / "out"
    line(out).finish()
    before = contents_of(out)
    for _ in range(2):
        line(out).finish()
        assert difference(before, contents_of(out)) is None
