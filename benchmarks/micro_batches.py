"""Time and peak memory of an exact step of the reverse pass, by the number of its micro-batches."""

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from benchmarks import ours
from benchmarks.cases import Case, build_translation, translation_case
from benchmarks.peak import peak_mib
from benchmarks.peers import train_plainly
from benchmarks.timing import figure, interleaved, markdown, progress
from fairseq_dlf.core.hypergradient.curvature import Exact
from fairseq_dlf.core.hypergradient.student import Point
from fairseq_dlf.translation.episodes.batches import micro_batches

ARCHS = ("lstm_dlf_1", "transformer_dlf_small")
# In a batch of few sentences, vectors of the size of the student outweigh the graph.
QUICK_SENTENCES, FULL_SENTENCES = 128, 512
PARTS = (1, 2, 4, 8)
PLAIN = 0
PADDING = 1
QUICK_REPEATS, FULL_REPEATS = 3, 9


def run(quick: bool, repeats: int | None = None) -> dict[str, Any]:
    """Measure a plain training step, and an exact step by parts: seconds, and MiB at the peak.

    Args:
        repeats: replace those of the quick or the full size.
    """
    sentences = QUICK_SENTENCES if quick else FULL_SENTENCES
    repeats = repeats or (QUICK_REPEATS if quick else FULL_REPEATS)
    return {"sentences": sentences, "rows": [row for arch in ARCHS for row in _rows(arch, sentences, repeats)]}


def table(result: dict[str, Any]) -> str:
    """Write one line for each student and number of parts; memory beside plain training's, time beside one part's."""
    lines = [
        [row["student"], row["step"], f"{row['ms']:.0f}", row["time"], f"{row['mib']:.0f}", f"{row['memory']:.2f}"]
        for row in result["rows"]
    ]
    sentences = f"step of {result['sentences']} sentences"
    return markdown(["student", sentences, "ms", "of one part's time", "peak, MiB", "of plain training's"], lines)


def step_job(arch: str, sentences: int, parts: int) -> Callable[[], Any]:
    """Return a step that is ready to run in a separate process: a plain one, or an exact one in so many parts."""
    step = _step(_case(arch, sentences), parts)
    step()
    return step


JOB = f"{__package__}.micro_batches:{step_job.__name__}"


def _rows(arch: str, sentences: int, repeats: int) -> list[dict[str, Any]]:
    case = _case(arch, sentences)
    wanted = {_name(parts): parts for parts in (PLAIN, *PARTS)}
    seconds = interleaved({name: _step(case, parts) for name, parts in wanted.items()}, repeats)
    peaks = {name: peak_mib(JOB, arch=arch, sentences=sentences, parts=parts) for name, parts in wanted.items()}
    rows = []
    for name in wanted:
        ratio = figure([mine / one for mine, one in zip(seconds[name], seconds[_name(1)], strict=True)])
        row = {"student": arch, "step": name, "ms": 1000 * figure(seconds[name]).median, "time": str(ratio)}
        rows.append({**row, "mib": peaks[name], "memory": peaks[name] / peaks[_name(PLAIN)], "n": ratio.n})
        progress(f"micro-batches of {arch}: {name}, {row['ms']:.0f} ms, {peaks[name]:.0f} MiB")
    return rows


def _name(parts: int) -> str:
    return "plain training" if parts == PLAIN else f"exact, parts: {parts}"


def _case(arch: str, sentences: int) -> Case:
    torch.manual_seed(1)
    task, module = build_translation(arch, "full")
    case = translation_case(task, module)
    return replace(case, batches=task.batches(1, seed=2, sentences=sentences))


def _step(case: Case, parts: int) -> Callable[[], Any]:
    if parts == PLAIN:
        return partial(train_plainly, case, copy.deepcopy(case.module), 1)
    student = ours.student(case)
    if parts > 1:
        student = student.in_parts(micro_batches(parts, PADDING, left_pad_source=True))
    point = Point(student.flat_params(), case.coefficients, case.batch(0), case.seed(0))
    vector = torch.ones_like(point.params)
    return lambda: Exact().linearize(student, point, None).multiply(vector)
