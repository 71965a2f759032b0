"""What tests of preparation share."""

import pytest

from fairseq_dlf.translation.corpus import steps


@pytest.fixture
def quick(monkeypatch):
    """Stand in for fairseq-preprocess, whose start alone takes seconds."""

    def run_preprocess(out, destination, languages, workers):
        destination.mkdir()
        (destination / f"dict.{languages[0]}.txt").write_text("x 1\n")

    monkeypatch.setattr(steps, "run_preprocess", run_preprocess)
