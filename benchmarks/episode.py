"""Cost of an episode, in units of plain training of the same steps."""

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from benchmarks import memory, ours, peers
from benchmarks.cases import Case, Size, build
from benchmarks.timing import Figure, figure, interleaved, markdown, progress, ratios

# A Transformer's repeat takes about a minute for eight steps.
QUICK_STEPS = {"lstm": (8, 32), "transformer-relu": (8,), "mlp": (8, 32)}
FULL_STEPS = (8, 32, 128)
FULL_STUDENTS = ("lstm", "transformer-gelu", "transformer-relu", "mlp", "lenet")
TRANSLATION_REPEATS, IMAGE_REPEATS = 3, 15
PEER_MEMORY_MIB = 6 * 1024
# A peer's ratio hardly depends on T: quick runs take it at the shortest only.
QUICK_PEER_STEPS = 8
WARM_UP_STEPS = 2
PLAIN, FORWARD, WITH_GRAPHS = "plain", "forward pass", "exact, graphs kept"


def run(
    quick: bool,
    students: Sequence[str] | None = None,
    steps: Sequence[int] | None = None,
    repeats: int | None = None,
) -> dict[str, Any]:
    """Measure ratios to plain training by student, T and method.

    Args:
        students, steps, repeats: replace those of the quick or the full size.
    """
    size: Size = "quick" if quick else "full"
    rows = []
    for student in students or (tuple(QUICK_STEPS) if quick else FULL_STUDENTS):
        left_out = {peer: reason for peer in peers.PEERS if (reason := peers.hindrance(peer, student))}
        case = build(student, size)
        for t in steps or (QUICK_STEPS.get(student, (8,)) if quick else FULL_STEPS):
            skipped = _too_long(quick and not steps, t) or _too_large(student, size, t)
            rows.append(_row(student, case, t, repeats or _repeats(student), skipped | left_out))
    return {"rows": rows}


def table(result: dict[str, Any]) -> str:
    """Write one line for each student and T."""
    methods = list(dict.fromkeys(name for row in result["rows"] for name in row["ratios"] | row["left_out"]))
    lines = [
        [row["student"], row["steps"], row["n"], f"{row['plain_step_ms']:.2f}", *(_cell(row, name) for name in methods)]
        for row in result["rows"]
    ]
    return markdown(["student", "T", "n", "plain step, ms", *(f"{name}: ratio" for name in methods)], lines)


def _row(student: str, case: Case, steps: int, repeats: int, left_out: dict[str, str]) -> dict[str, Any]:
    methods = _methods(case, left_out)
    runs = {name: partial(method, steps) for name, method in methods.items()}
    warm_up = {name: partial(method, min(steps, WARM_UP_STEPS)) for name, method in methods.items()}
    seconds = interleaved(runs, repeats, warm_up)
    found = ratios(seconds, PLAIN)
    progress(f"episode: {student}, T = {steps}: " + ", ".join(f"{name} {value}" for name, value in found.items()))
    return {
        "student": student,
        "steps": steps,
        "n": repeats,
        "plain_step_ms": 1000 * figure(seconds[PLAIN]).median / steps,
        "ratios": {name: value._asdict() for name, value in found.items()},
        "left_out": left_out,
    }


def _methods(case: Case, left_out: dict[str, str]) -> dict[str, Callable[[int], Any]]:
    return {
        PLAIN: partial(peers.train_plainly, case, copy.deepcopy(case.module)),
        FORWARD: partial(ours.forward, case),
        **{way: partial(ours.episode, case, way=way) for way in ours.WAYS},
        **({} if WITH_GRAPHS in left_out else {WITH_GRAPHS: partial(ours.episode, case, trajectory=ours.ALL_GRAPHS)}),
        **{name: partial(peer, case) for name, peer in peers.PEERS.items() if name not in left_out},
    }


def _repeats(student: str) -> int:
    return IMAGE_REPEATS if student in ("mlp", "lenet") else TRANSLATION_REPEATS


def _too_long(shortened: bool, steps: int) -> dict[str, str]:
    return dict.fromkeys(peers.PEERS, "quick") if shortened and steps > QUICK_PEER_STEPS else {}


def _too_large(student: str, size: Size, steps: int) -> dict[str, str]:
    mib = memory.expected_peer_mib(student, size, steps)
    # Our own graphs take about as much.
    holding = (WITH_GRAPHS, *peers.PEERS)
    return dict.fromkeys(holding, f"about {mib / 1024:.0f} GiB") if mib > PEER_MEMORY_MIB else {}


def _cell(row: dict[str, Any], name: str) -> str:
    if name in row["left_out"]:
        return f"left out: {row['left_out'][name]}"
    return str(Figure(**row["ratios"][name])) if name in row["ratios"] else ""
