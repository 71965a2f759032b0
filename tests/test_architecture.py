"""The arrows between folders: what may import what, as the architecture page prints it."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fairseq_dlf

ROOT = Path(fairseq_dlf.__file__).parent
PAGE = ROOT.parent / "docs" / "architecture.md"
# Each place may import itself and what stands here; a place is a folder or a single file.
ARROWS = {
    "core/support": [],
    "core/files": ["core/support"],
    "core/hypergradient": ["core/support"],
    "core/teaching": ["core/hypergradient", "core/files", "core/support"],
    "translation/hooks": ["core"],
    "translation/bleu": ["core"],
    "translation/regularisers": ["core"],
    "translation/measures": ["translation/bleu", "core"],
    "translation/episodes": [
        "translation/measures",
        "translation/regularisers",
        "translation/bleu",
        "translation/hooks",
        "core",
    ],
    "translation/teachers": [
        "translation/episodes",
        "translation/regularisers",
        "translation/bleu",
        "translation/hooks",
        "core",
    ],
    "translation/students": [
        "translation/teachers",
        "translation/regularisers",
        "translation/bleu",
        "translation/hooks",
        "core",
    ],
    "translation/plugins": ["translation/students", "translation/teachers", "translation/hooks"],
    "translation/corpus": ["command_line", "core/files", "core/support"],
    "translation/tools": [
        "translation/plugins",
        "translation/teachers",
        "translation/episodes",
        "translation/bleu",
        "translation/hooks",
        "command_line",
        "core",
    ],
    "translation/reports": [
        "translation/plugins",
        "translation/teachers",
        "translation/regularisers",
        "translation/bleu",
        "translation/hooks",
        "command_line",
        "figures",
        "train_log",
        "core",
    ],
    "images/data": ["core/files", "core/support"],
    "images/records": ["core"],
    "images/losses": ["core"],
    "images/measures": ["images/data", "core"],
    "images/students": ["images/data", "images/losses", "images/records", "core"],
    "images/teachers": [
        "images/students",
        "images/data",
        "images/losses",
        "images/measures",
        "images/records",
        "images/bar",
        "core",
    ],
    "images/reports": ["images/records", "figures", "core"],
    "images/bar": [],
    "images/training": [
        "images/teachers",
        "images/students",
        "images/data",
        "images/losses",
        "images/records",
        "images/bar",
        "core",
    ],
    "images/command_line": ["images", "figures", "command_line", "core"],
    "command_line": ["core/support"],
    "train_log": [],
    "figures": ["core/files", "core/support"],
}
# What the core must never need: a command line, or a front end's library.
FOREIGN_TO_CORE = {"fairseq", "argparse", "omegaconf", "sacrebleu"}


def place_of(module: str) -> str:
    """The place in `ARROWS` of a dotted name within the package; '' for the package itself."""
    path = module.removeprefix("fairseq_dlf").strip(".").replace(".", "/")
    return next((place for place in ARROWS if path == place or path.startswith(place + "/")), "")


def imported_modules(file: Path) -> set[str]:
    """Dotted names that a file imports, submodules in full."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: write imports in full"
            names.add(node.module)
    return names


def modules() -> list[Path]:
    """All files with code: the packages' own files register and list what is in them, and are left out."""
    return sorted(path for path in ROOT.rglob("*.py") if path.name not in ("__init__.py", "__main__.py"))


@pytest.mark.parametrize("file", modules(), ids=lambda file: str(file.relative_to(ROOT)))
def test_every_import_follows_an_arrow(file):
    own = place_of(str(file.relative_to(ROOT).with_suffix("")).replace("/", "."))
    assert own, f"{file} stands in no place of the table: add one"
    for module in imported_modules(file):
        if module.startswith("fairseq_dlf."):
            place = place_of(module)
            allowed = [own, *ARROWS[own]]
            assert any(place == other or place.startswith(other + "/") for other in allowed), f"{own} imports {module}"
        elif own.startswith("core/"):
            assert module.split(".")[0] not in FOREIGN_TO_CORE, f"{own} imports {module}"


def test_the_architecture_page_prints_the_table():
    rows = re.findall(r"^\| `([\w/]+)` \| ([^|]*) \|", PAGE.read_text(encoding="utf-8"), re.M)
    printed = {place: re.findall(r"`([\w/]+)`", arrows) for place, arrows in rows}
    assert printed == ARROWS


@pytest.mark.parametrize("module", ["core.hypergradient.episode", "core.teaching.loss", "images.__main__"])
def test_only_translation_loads_fairseq(module):
    code = f"import sys, fairseq_dlf.{module}; sys.exit('fairseq' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT.parent, check=False).returncode == 0
