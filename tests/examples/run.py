"""Examples as a user runs them."""

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fairseq_dlf


def path_of(name: str) -> Path:
    """Return the file of an example."""
    return Path(fairseq_dlf.__file__).parents[1] / "examples" / f"{name}.py"


def main_of(name: str) -> Callable[..., Any]:
    """Return the main function of an example."""
    return runpy.run_path(str(path_of(name)))["main"]
