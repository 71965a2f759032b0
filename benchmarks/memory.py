"""Peak memory of an episode against its length, by where the student's past is kept."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

from benchmarks import ours, peers
from benchmarks.cases import Size, build
from benchmarks.peak import peak_mib
from benchmarks.timing import markdown, progress

STUDENT = "lstm"
QUICK_STEPS, FULL_STEPS = (8, 64), (8, 32, 128, 256)
QUICK_STORES = (ours.ALL_STATES, ours.FEWEST_STATES, ours.ALL_GRAPHS)
# The peers keep the graph of every step, as one of our stores does.
GRAPH_LIMIT = 32
PEER_STEPS = (8, 32)
COPY_BYTES = 4


def run(quick: bool, steps: Sequence[int] | None = None, students: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure peak MiB by student, method and T.

    Args:
        steps: T; by default those of the quick or the full size.
        students: by default the LSTM.
    """
    size: Size = "quick" if quick else "full"
    stores = QUICK_STORES if quick else tuple(ours.TRAJECTORIES)
    rows = [
        row
        for student in students or (STUDENT,)
        for row in _rows(student, size, stores, steps or (QUICK_STEPS if quick else FULL_STEPS), steps or PEER_STEPS)
    ]
    return {"rows": rows}


def table(result: dict[str, Any]) -> str:
    """Write MiB, and in brackets copies of the student."""
    rows = result["rows"]
    lengths = sorted({row["steps"] for row in rows})
    lines = []
    for student, method in dict.fromkeys((row["student"], row["method"]) for row in rows):
        found = {row["steps"]: row for row in rows if (row["student"], row["method"]) == (student, method)}
        cells = [f"{found[t]['mib']:.0f} ({found[t]['copies']:.1f})" if t in found else "" for t in lengths]
        lines.append([student, method, *cells])
    return markdown(["student", "method", *(f"T = {t}: MiB (copies)" for t in lengths)], lines)


def expected_peer_mib(student: str, size: Size, steps: int) -> float:
    """Extrapolate the peak of plain autograd to so many steps, from two and four steps."""
    two, four = _two_peaks(student, size)
    return four + (steps - 4) * (four - two) / 2


@cache
def _two_peaks(student: str, size: Size) -> tuple[float, float]:
    two, four = (peak_mib(JOB, student=student, size=size, method="autograd", steps=t) for t in (2, 4))
    return two, four


def episode_job(student: str, size: Size, method: str, steps: int) -> Callable[[], Any]:
    """Return an episode that is ready to run in a separate process."""
    case = build(student, size)
    ours.forward(case, 1)
    if method in ours.TRAJECTORIES:
        return partial(ours.episode, case, steps, trajectory=method)
    return partial(peers.PEERS[method], case, steps)


JOB = f"{__package__}.memory:{episode_job.__name__}"


def _rows(
    student: str, size: Size, stores: Sequence[str], steps: Sequence[int], peer_steps: Sequence[int]
) -> list[dict[str, Any]]:
    copy_mib = build(student, size).parameters * COPY_BYTES / 2**20
    wanted = [(method, t) for method in stores for t in steps if method != ours.ALL_GRAPHS or t <= GRAPH_LIMIT]
    wanted += [(peer, t) for peer in peers.PEERS for t in peer_steps if t <= GRAPH_LIMIT]
    rows = []
    for method, t in wanted:
        mib = peak_mib(JOB, student=student, size=size, method=method, steps=t)
        rows.append({"student": student, "method": method, "steps": t, "mib": mib, "copies": mib / copy_mib, "n": 1})
        progress(f"memory: {student}, {method}, T = {t}: {mib:.0f} MiB")
    return rows
