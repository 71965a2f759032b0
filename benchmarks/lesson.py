"""Overhead of a teacher's lesson (guidance, estimator, θ's gradient) over the bare episode that it runs."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from benchmarks import ours
from benchmarks.cases import Case, Size, build
from benchmarks.timing import Figure, figure, interleaved, markdown, progress, ratios

STUDENTS = ("lstm", "mlp")
STEPS: dict[Size, dict[str, int]] = {
    "small": {"lstm": 4, "mlp": 4},
    "quick": {"lstm": 4, "mlp": 32},
    "full": {"lstm": 32, "mlp": 128},
}
TRANSLATION_REPEATS, IMAGE_REPEATS = 5, 15
WARM_UP_STEPS = 2
BARE, ONCE, EVERY = "bare", "observed once", "observed before each update"


def run(
    quick: bool,
    students: Sequence[str] | None = None,
    steps: Sequence[int] | None = None,
    repeats: int | None = None,
) -> dict[str, Any]:
    """Measure lessons in units of the same episode without a teacher.

    Args:
        students, steps, repeats: replace those of the quick or the full size.
    """
    size: Size = "quick" if quick else "full"
    rows = [
        _row(student, build(student, size), t, repeats or _repeats(student))
        for student in students or STUDENTS
        for t in steps or (STEPS[size].get(student, 4),)
    ]
    return {"rows": rows}


def table(result: dict[str, Any]) -> str:
    """Write one line for each student and T."""
    lines = [
        [row["student"], row["coefficients"], row["steps"], row["n"], f"{row['bare_ms']:.1f}"]
        + [str(Figure(**row["ratios"][name])) for name in (ONCE, EVERY)]
        for row in result["rows"]
    ]
    headings = ["student", "coefficients", "T", "n", "bare episode, ms", f"{ONCE}: ratio", f"{EVERY}: ratio"]
    return markdown(headings, lines)


def _row(student: str, case: Case, steps: int, repeats: int) -> dict[str, Any]:
    teacher = ours.teacher(case)
    methods: dict[str, Callable[[int], Any]] = {
        BARE: partial(ours.bare_episode, case),
        ONCE: lambda t: ours.lesson(case, teacher, t, interval=t),
        EVERY: lambda t: ours.lesson(case, teacher, t, interval=1),
    }
    warm_up = {name: partial(method, min(steps, WARM_UP_STEPS)) for name, method in methods.items()}
    seconds = interleaved({name: partial(method, steps) for name, method in methods.items()}, repeats, warm_up)
    found = ratios(seconds, BARE)
    progress(f"lesson: {student}, T = {steps}: " + ", ".join(f"{name} {value}" for name, value in found.items()))
    return {
        "student": student,
        "coefficients": len(case.coefficients),
        "steps": steps,
        "n": repeats,
        "bare_ms": 1000 * figure(seconds[BARE]).median,
        "ratios": {name: value._asdict() for name, value in found.items()},
    }


def _repeats(student: str) -> int:
    return IMAGE_REPEATS if student in ("mlp", "lenet") else TRANSLATION_REPEATS
