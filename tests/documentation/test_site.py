"""The site builds without a warning, where the extra [docs] is installed (`make docs`)."""

import os
import subprocess
import sys

import pytest

from tests.documentation.pages import DOCS, ROOT
from tests.forking import TIMEOUT_S

pytest.importorskip("material")
pytest.importorskip("mkdocstrings")
pytest.importorskip("fairseq")


def test_the_site_builds_strictly(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    variables = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, encoding="utf-8", timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stderr[-3000:]
    for page in DOCS.glob("*.md"):
        folder = tmp_path / "site" / ("" if page.stem == "index" else page.stem)
        assert (folder / "index.html").stat().st_size > 5000
    commands = (tmp_path / "site" / "commands" / "index.html").read_text(encoding="utf-8")
    assert "--student-steps" in commands and "generated:" not in commands
    api = (tmp_path / "site" / "api" / "index.html").read_text(encoding="utf-8")
    assert 'id="fairseq_dlf.core.hypergradient.episode.run_episode"' in api
    assert "Teach the student from" in api and "<strong>Cost</strong>" in api
    results = (tmp_path / "site" / "results" / "index.html").read_text(encoding="utf-8")
    assert "What the teacher finds" in results


def test_notes_of_docstrings_become_paragraphs():
    from documentation.docstrings import with_paragraphs

    docstring = "Do it.\n\nCost: one step,\n    or two.\nPaper: Eq 3.\n\nRaises:\n    E: no."
    paragraphs = "Do it.\n\n\n**Cost**: one step, or two.\n\n\n**Paper**: Eq 3.\n\n\nRaises:\n    E: no."
    assert with_paragraphs(docstring) == paragraphs
