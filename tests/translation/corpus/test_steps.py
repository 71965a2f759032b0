"""fairseq-preprocess as a step: how its failures are told."""

import subprocess

import pytest

pytest.importorskip("fairseq")

from fairseq_dlf.core.support.errors import StateError  # noqa: E402
from fairseq_dlf.translation.corpus import steps  # noqa: E402


@pytest.fixture
def ending(monkeypatch):
    """Lets fairseq-preprocess end with a status and an error text."""

    def end(status, text):
        def run(command, **_):
            return subprocess.CompletedProcess(command, status, "", text)

        monkeypatch.setattr(steps.subprocess, "run", run)

    return end


def test_a_failure_is_told_by_its_last_line(ending, tmp_path):
    ending(1, "Traceback\nValueError: no such dictionary\n")
    with pytest.raises(StateError, match="failed with status 1 .ValueError: no such dictionary.: see that fairseq"):
        steps.run_preprocess(tmp_path, tmp_path / "bin", ("de", "en"), 1)


def test_its_full_disk_is_ours(ending, tmp_path):
    ending(1, "OSError: [Errno 28] No space left on device\n")
    with pytest.raises(OSError, match="No space left on device") as caught:
        steps.run_preprocess(tmp_path, tmp_path / "bin", ("de", "en"), 1)
    assert caught.value.errno == 28


def test_success_is_silent(ending, tmp_path):
    ending(0, "")
    assert steps.run_preprocess(tmp_path, tmp_path / "bin", ("de", "en"), 1) is None
