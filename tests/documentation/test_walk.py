"""A user's walk: the commands of README and documentation, one after the other, in a clone."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documentation.pages import PAGES, ROOT, bash_lines

pytest.importorskip("fairseq")

# In the order in which each page finds what it needs: its commands go on with the files of the pages before it.
WALK = (
    "docs/getting-started.md",
    "docs/choosing.md",
    "docs/baselines.md",
    "docs/long-episodes.md",
    "docs/translation.md",
    "docs/recipes.md",
    "docs/images.md",
    "docs/own-model.md",
    "README.md",
)
# What is left out, by a part of its line, and why.
LEFT_OUT = {
    "make ": "installs, or runs for minutes by itself",
    "pip install": "installs",
    "multi30k": "needs a corpus that is not in the repository",
    "de-en.tgz": "needs a corpus that is not in the repository",
    "mnist:": "needs images that are not in the repository",
    "experiments": "runs for hours",
    "recipes/toy.sh": "is `make demo`",
    "teacher1.pt": "stands for files of the reader's",
    "seed1.log": "stands for files of the reader's",
    "pytest": "is these tests",
}
MINUTES = 20


def walked(page):
    return [line for line in bash_lines(page) if not any(part in line for part in LEFT_OUT)]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A copy of what git knows, as a fresh clone would be."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    folder = tmp_path_factory.mktemp("clone")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def test_what_is_left_out_is_there():
    lines = [line for page in PAGES for line in bash_lines(page)]
    for part in LEFT_OUT:
        assert any(part in line for line in lines), part
    assert set(WALK) <= set(PAGES)


@pytest.mark.slow
@pytest.mark.timeout(60 * MINUTES * len(WALK))
def test_every_command_does_what_the_pages_say(clone):
    scripts = str(Path(sys.executable).parent)
    variables = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(clone)}
    failed = []
    for page in WALK:
        for line in walked(page):
            command = ["bash", "-c", line]
            done = subprocess.run(
                command, cwd=clone, env=variables, capture_output=True, encoding="utf-8", timeout=60 * MINUTES
            )
            if done.returncode != 0:
                failed.append(f"{page}: {line}\n{(done.stdout + done.stderr)[-1500:]}")
    assert not failed, "\n\n".join(failed)
