"""How far a table is, a line for each task."""

from collections import Counter

from experiments.checkpoints import kept_bytes
from experiments.processes import folder_of
from experiments.runs import Task
from experiments.workplace import State, Workplace
from fairseq_dlf.core.support.byte_sizes import human_size

# What is said after the sum of each state.
MEANINGS: dict[State, str] = {
    "done": "recorded",
    "running": "at work in a process",
    "started": "begun, at rest",
    "missing": "not begun",
    "undecided": "wait for the tuning of their column",
    "refused": "made by another command than the table declares",
}


def status(place: Workplace) -> str:
    """Return a line for each task with its state, figures and the size of its checkpoints, then the sums."""
    lines, states, total = [], Counter[State](), 0
    seen = set()
    for task in place.tasks():
        state = place.state(task)
        states[state] += 1
        size = 0 if task.kind in ("test", "average") else kept_bytes(folder_of(task, place.out))
        total += size
        lines.append("  ".join(filter(None, [f"{state:9}", task.name, _figures(place, task), _size(size)])))
        refusal = place.refusal(task) if state == "refused" else None
        if refusal is not None and refusal not in seen:
            seen.add(refusal)
            lines.append(f"           {refusal}")
    sums = "; ".join(f"{states[state]} {state} ({meaning})" for state, meaning in MEANINGS.items() if states[state])
    return "\n".join([*lines, f"{sums}; checkpoints take {human_size(total)}"])


def _size(size: int) -> str:
    return human_size(size) if size else ""


def _figures(place: Workplace, task: Task) -> str:
    if task.kind in ("data", "undecided"):
        return ""
    record = place.records.read(task.record)
    if record is None:
        return ""
    if task.kind == "test":
        return "" if record.test is None else f"test {record.test.bleu:.2f}"
    dev = "" if record.best_bleu is None else f"dev {record.best_bleu:.2f}"
    return dev + (", diverged" if record.diverged else "")
