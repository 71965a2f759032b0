"""The names in docs/glossary.md are those of the sources, and the pages link it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROWS = re.findall(
    r"^\| ([^|]+) \| [^|]+ \| ([^|]+) \|$", (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"), re.M
)
SOURCES = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "fairseq_dlf").rglob("*.py")))


def test_the_words_are_listed_once():
    words = [word for word, _ in ROWS if word not in ("symbol", "word", "---")]
    assert len(words) > 40
    assert len(words) == len(set(words))


@pytest.mark.parametrize("name", sorted({name for _, names in ROWS for name in re.findall(r"`([^`]+)`", names)}))
def test_a_name_of_the_glossary_is_in_the_sources(name):
    for part in re.findall(r"\w+", name.removeprefix("--").replace("-", "_")):
        assert re.search(rf"\b{part}\b", SOURCES), part


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md"])
def test_a_page_links_the_glossary(page):
    assert "glossary.md)" in (ROOT / page).read_text(encoding="utf-8")
