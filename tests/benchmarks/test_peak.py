"""The peak of a job is what it adds to its process."""

from pathlib import Path

import pytest

from benchmarks import memory, peak


def block_job(mib):
    """A job that holds so much for a moment."""
    return lambda: len(b"x" * (mib * 2**20))


def test_the_peak_is_what_a_job_adds(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    assert peak.peak_mib(f"{__name__}:block_job", mib=300) == pytest.approx(300, abs=3)


def test_a_job_that_fails_says_why():
    with pytest.raises(RuntimeError, match="KeyError: 'nobody'"):
        peak.peak_mib(memory.JOB, student="nobody", size="small", method="autograd", steps=1)
