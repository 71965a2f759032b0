"""Damaged files end in one line with the file's name, or hold what they held; nothing in them is executed."""

import json
from pathlib import Path

import pytest

from tests.forking import run
from tests.robustness.fuzz import fuzz, here
from tests.robustness.readers import CHECKPOINTS, READERS, TEXT

SEED = 1
QUICK, SLOW = 12, 200
TRANSLATION = [reader.name for reader in (*TEXT, *CHECKPOINTS)]


@pytest.fixture
def corpus_folder(request):
    """Where the corpus is; nowhere for readers that need none."""

    def find(name: str) -> Path:
        if name in TRANSLATION:
            pytest.importorskip("fairseq")
        needed = name in [reader.name for reader in CHECKPOINTS]
        return request.getfixturevalue("corpus").raw.parent if needed else Path("no corpus")

    return find


@pytest.mark.parametrize("name", READERS)
def test_a_dozen_damaged_files(name, corpus_folder):
    found = fuzz(READERS[name], QUICK, SEED, corpus_folder(name), here)
    assert not found.faults, "\n".join(found.faults)
    assert found.files == QUICK and found.ends["refused"] > 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", READERS)
def test_two_hundred_damaged_files(name, corpus_folder, tmp_path, figures):
    out = tmp_path / "found.json"
    ended = run("tests.robustness.fuzz", name, SLOW, SEED, corpus_folder(name), out)
    assert ended.status == 0, ended.printed[-3000:]
    found = json.loads(out.read_text())
    figures(seed=SEED, **found)
    assert not found["faults"], "\n".join(found["faults"])
    assert found["files"] == SLOW
