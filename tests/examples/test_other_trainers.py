"""The examples of students of other libraries' trainers."""

import importlib
import sys

import pytest

from tests.examples.run import main_of


@pytest.fixture(autouse=True)
def audio(monkeypatch):
    """Hide a torchaudio that cannot be loaded, as one beside a torch of another build: transformers would load it."""
    try:
        importlib.import_module("torchaudio")
    except (ImportError, OSError):
        monkeypatch.setitem(sys.modules, "torchaudio", None)


def test_a_student_of_transformers_learns_by_the_taught_loss(capsys):
    pytest.importorskip("transformers", exc_type=ImportError)
    right = main_of("transformers_seq2seq")(episodes=3)
    printed = capsys.readouterr().out
    assert right > 0.9
    assert "episode 0: uniform share 0.10 → 0.10" in printed and "episode 2: uniform share 0.10 → 0.10" not in printed


def test_a_student_of_lightning_learns_by_the_taught_loss(capsys):
    pytest.importorskip("lightning")
    found = main_of("lightning_student")(episodes=3)
    printed = capsys.readouterr().out
    assert min(found.values()) > 0.8
    assert "episode 0: uniform share 0.00 → 0.00" in printed and "episode 2: uniform share 0.00 → 0.00" not in printed
