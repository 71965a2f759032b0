"""The arrows between layers: core knows no front end, front ends do not know each other."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import fairseq_dlf

ROOT = Path(fairseq_dlf.__file__).parent
# Within core each file may import only those above it.
CORE_ORDER = [
    "allocation",
    "byte_sizes",
    "seeds",
    "file_replacement",
    "tensor_file",
    "loss",
    "teacher",
    "progress",
    "student",
    "update_rules",
    "probe",
    "curvature",
    "guard",
    "storage",
    "trajectory",
    "hypergradient",
    "measures",
    "episode",
]


def imported_modules(file: Path) -> set[str]:
    """Dotted names that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: write imports in full"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def test_core_imports_only_what_stands_above_it():
    files = {path.stem: path for path in (ROOT / "core").glob("*.py") if path.stem != "__init__"}
    assert set(files) == set(CORE_ORDER)
    for place, name in enumerate(CORE_ORDER):
        for module in imported_modules(files[name]):
            assert module.split(".")[0] not in {"fairseq", "argparse", "omegaconf"}, f"core/{name} imports {module}"
            if module.startswith("fairseq_dlf"):
                parts = module.split(".")
                assert parts[1] == "core", f"core/{name} imports {module}"
                assert parts[2] in CORE_ORDER[:place], f"core/{name} imports {module}"


def test_front_ends_do_not_know_each_other():
    for front, other in (("translation", "images"), ("images", "translation")):
        for file in (ROOT / front).rglob("*.py"):
            assert not any(m.startswith(f"fairseq_dlf.{other}") for m in imported_modules(file)), file


@pytest.mark.parametrize("module", ["core.episode", "images.__main__"])
def test_only_translation_loads_fairseq(module):
    code = f"import sys, fairseq_dlf.{module}; sys.exit('fairseq' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT.parent, check=False).returncode == 0
