"""Relative error of dΦ in float32, against exact products in float64."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks import ours
from benchmarks.cases import Case, Size, build
from benchmarks.timing import markdown, progress

QUICK_STUDENTS = ("lstm", "transformer-gelu", "mlp")
FULL_STUDENTS = (*QUICK_STUDENTS, "transformer-relu")
QUICK_STEPS, FULL_STEPS = (8,), (8, 32)
TRAINING_STEPS, TRAINING_RATE = 60, 1e-3


def run(quick: bool, students: Sequence[str] | None = None, steps: Sequence[int] | None = None) -> dict[str, Any]:
    """Measure ‖dΦ − dΦ₆₄‖ / ‖dΦ₆₄‖ over all steps, by student, T and kind of products.

    Args:
        students, steps: replace those of the quick or the full size.
    """
    size: Size = "quick" if quick else "full"
    rows = []
    for student in students or (QUICK_STUDENTS if quick else FULL_STUDENTS):
        case = trained(build(student, size))
        for t in steps or (QUICK_STEPS if quick else FULL_STEPS):
            errors = errors_of(case, t)
            rows.append({"student": student, "steps": t, "n": 1, "errors": errors})
            progress(f"error: {student}, T = {t}: " + ", ".join(f"{way} {e:.1e}" for way, e in errors.items()))
    return {"rows": rows}


def table(result: dict[str, Any]) -> str:
    """Write one line for each student and T."""
    ways = list(dict.fromkeys(way for row in result["rows"] for way in row["errors"]))
    lines = [[row["student"], row["steps"], *(f"{row['errors'][way]:.1e}" for way in ways)] for row in result["rows"]]
    return markdown(["student", "T", *(f"{way}: relative error" for way in ways)], lines)


def trained(case: Case) -> Case:
    """Return the student after a warm start, measured along the gradient of a batch that teaching leaves out.

    Differences see little of an untrained student in a random direction, in which its loss
    hardly bends: rounding would be all that is measured.
    """
    optimizer = torch.optim.Adam(case.module.parameters(), lr=TRAINING_RATE)
    for t in range(TRAINING_STEPS):
        optimizer.zero_grad()
        case.cross_entropy(case.module, case.coefficients, case.batch(t)).backward()
        optimizer.step()
    held_out = case.batches[-1]
    return replace(case, batches=case.batches[:-1], direction=ours.gradient(case, held_out))


def errors_of(case: Case, steps: int) -> dict[str, float]:
    """Return ‖dΦ − dΦ₆₄‖ / ‖dΦ₆₄‖ by each way to second-order products."""
    reference = case.double()
    with without_float32(reference.module):
        wanted = ours.episode(reference, steps)
    return {way: float((ours.episode(case, steps, way) - wanted).norm() / wanted.norm()) for way in ours.WAYS}


@contextmanager
def without_float32(module: torch.nn.Module) -> Iterator[None]:
    """Make fairseq's GELU and softmax compute in float64; by themselves they compute in float32."""
    layer: Any
    for layer in module.modules():
        if getattr(getattr(layer, "activation_fn", None), "__name__", None) == "gelu":
            layer.activation_fn = functional.gelu

    def softmax(values: Tensor, dim: int, onnx_trace: bool = False) -> Tensor:
        return torch.softmax(values, dim)

    with mock.patch("fairseq.utils.softmax", softmax):
        yield
