"""Overhead of a teacher file (header, checksum, writing whole or not at all) over safetensors alone."""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from benchmarks.timing import Figure, figure, interleaved, markdown, progress, ratios
from fairseq_dlf.core.teaching.forms import Diagonal
from fairseq_dlf.core.teaching.teacher_file import TeacherHeader, read_teacher, write_teacher
from fairseq_dlf.core.teaching.teachers import untaught_teacher

TYPES = 10_000
KEYS, FEATURES = 5, ("updates", "train_bleu", "dev_bleu")
QUICK_REPEATS, FULL_REPEATS = 15, 51
# A file is read and written in a millisecond or two.
FILES_IN_A_RUN = 10
ALONE, OURS = "safetensors alone", "teacher file"


def run(quick: bool, repeats: int | None = None) -> dict[str, Any]:
    """Measure writing and reading a teacher of 10,000 types in units of safetensors alone.

    Args:
        repeats: replace those of the quick or the full size.
    """
    repeats = repeats or (QUICK_REPEATS if quick else FULL_REPEATS)
    with tempfile.TemporaryDirectory() as folder:
        rows = [_row(what, methods, repeats) for what, methods in _methods(Path(folder)).items()]
    return {"types": TYPES, "rows": rows}


def table(result: dict[str, Any]) -> str:
    """Write one line for writing and one for reading."""
    lines = [
        [row["measured"], row["n"], f"{row['alone_ms']:.2f}", f"{row['ours_ms']:.2f}", str(Figure(**row["ratio"]))]
        for row in result["rows"]
    ]
    return markdown(["measured", "n", f"{ALONE}, ms", f"{OURS}, ms", "ratio"], lines)


def _methods(folder: Path) -> dict[str, dict[str, Callable[[], Any]]]:
    torch.manual_seed(1)
    teacher = untaught_teacher("attention", Diagonal().neutral(TYPES), len(FEATURES), {"keys": KEYS})
    header = TeacherHeader("attention", Diagonal().spec, FEATURES, "signature")
    alone, ours = folder / "alone.safetensors", folder / "ours.safetensors"
    methods: dict[str, dict[str, Callable[[], Any]]] = {
        "writing": {
            ALONE: partial(save_file, teacher.state_dict(), alone),
            OURS: partial(write_teacher, ours, teacher, header),
        },
        "reading": {ALONE: partial(load_file, alone), OURS: partial(read_teacher, ours, Diagonal().spec, "")},
    }
    return methods


def _row(measured: str, methods: dict[str, Callable[[], Any]], repeats: int) -> dict[str, Any]:
    seconds = interleaved({name: partial(_repeated, method) for name, method in methods.items()}, repeats)
    ratio = ratios(seconds, ALONE)[OURS]
    alone_ms, ours_ms = (1000 * figure(seconds[name]).median / FILES_IN_A_RUN for name in (ALONE, OURS))
    progress(f"teacher file: {measured}: {ours_ms:.2f} ms, {ratio} times safetensors alone")
    return {"measured": measured, "n": repeats, "alone_ms": alone_ms, "ours_ms": ours_ms, "ratio": ratio._asdict()}


def _repeated(method: Callable[[], Any]) -> None:
    for _ in range(FILES_IN_A_RUN):
        method()
