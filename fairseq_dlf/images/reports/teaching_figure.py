"""The paper's Figure 3: students along the training of their teacher."""

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from fairseq_dlf.core.teaching.loop.journal import TeacherStep
from fairseq_dlf.figures import COLOURS, new_figure, number_whole
from fairseq_dlf.images.records.training import Run
from fairseq_dlf.images.reports.contents import Contents
from fairseq_dlf.images.reports.look import Look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEIGHT = 4.6
BASELINE = "cross_entropy"


def teaching_figure(teachers: Sequence[Contents], everything: Sequence[Contents], look: Look) -> "Figure":
    """Draw the dev measure of each teacher's students, and below it how far θ moves and what moving Φ would bring.

    Args:
        teachers: folders with a teacher's steps.
        everything: folders, whose runs of cross-entropy are the baseline.
    """
    entries = 4 * len(teachers) / look.legend_columns
    figure = new_figure(look.width, HEIGHT + 0.15 * entries)
    above, middle, below = figure.subplots(3, 1, sharex=True, height_ratios=(2.2, 1, 1))
    for place, contents in enumerate(teachers):
        colour = COLOURS[place % len(COLOURS)]
        prefix = f"{contents.label}: " if len(teachers) > 1 else ""
        _draw_measures(above, contents.steps, colour, prefix)
        _draw_collapses(above, contents.steps, colour, prefix, height=0.02 + 0.04 * place)
        _draw_sizes(middle, contents.steps, lambda row: row.dtheta_norm, colour)
        _draw_sizes(below, contents.steps, lambda row: row.leverage, colour)
    for name, accuracy in _baselines(teachers, everything):
        above.axhline(accuracy, color="black", ls="--", lw=0.8, label=f"{name}, best epoch")
    above.set_ylabel("dev accuracy, %")
    middle.set_ylabel("‖Δθ‖")
    below.set_ylabel("‖Σ ∂M/∂Φ‖₁\n(accuracy per Φ)")
    below.set_xlabel("teacher steps")
    last = max(row.step for contents in teachers for row in contents.steps)
    below.set_xlim(-0.02 * max(last, 1), 1.02 * max(last, 1))
    number_whole(below)
    for axes in (above, middle, below):
        axes.grid(alpha=0.3)
    if look.titles:
        figure.suptitle("Students along the teacher's training")
    figure.legend(*above.get_legend_handles_labels(), loc="outside lower center", ncols=look.legend_columns)
    return figure


def chosen_step(steps: Sequence[TeacherStep]) -> TeacherStep | None:
    """Return the step whose teacher is kept, the first with the greatest validated accuracy; None before one is."""
    validated = [row for row in steps if row.dev_accuracy is not None]
    return max(validated, key=lambda row: row.dev_accuracy or 0.0, default=None)


def _draw_measures(axes: "Axes", steps: Sequence[TeacherStep], colour: str, prefix: str) -> None:
    measures = [
        (row.step, 100.0 * row.measure_after) for row in steps if row.measure_after is not None and not row.collapsed
    ]
    if measures:
        label = f"{prefix}measure after the episode"
        axes.plot(*zip(*measures, strict=True), ".-", color=colour, lw=0.6, alpha=0.6, label=label)
    valid = [(row.step, 100.0 * row.dev_accuracy) for row in steps if row.dev_accuracy is not None]
    if valid:
        axes.plot(*zip(*valid, strict=True), "o-", color=colour, lw=2, ms=4, label=f"{prefix}validated")
    chosen = chosen_step(steps)
    if chosen is not None and chosen.dev_accuracy is not None:
        star: dict[str, Any] = {"marker": "*", "ms": 11, "mec": "black", "mew": 0.6, "ls": "none", "color": colour}
        axes.plot([chosen.step], [100.0 * chosen.dev_accuracy], label=f"{prefix}chosen", zorder=3, **star)


def _draw_collapses(axes: "Axes", steps: Sequence[TeacherStep], colour: str, prefix: str, height: float) -> None:
    """Draw crosses at a height of the axes, in [0, 1]: at their measures they would squeeze all other points."""
    collapsed = [row.step for row in steps if row.collapsed]
    if collapsed:
        heights, edge = [height] * len(collapsed), axes.get_xaxis_transform()
        axes.plot(collapsed, heights, "x", color=colour, mew=2, label=f"{prefix}collapsed", transform=edge)


def _draw_sizes(axes: "Axes", steps: Sequence[TeacherStep], size: Callable[[TeacherStep], float], colour: str) -> None:
    learned = [row for row in steps if row.dtheta_norm > 0.0]
    axes.plot([row.step for row in learned], [size(row) for row in learned], ".-", color=colour)
    if any(size(row) > 0.0 for row in learned):
        axes.set_yscale("log")


def _baselines(teachers: Sequence[Contents], everything: Sequence[Contents]) -> list[tuple[str, float]]:
    """Return labels and mean dev accuracy, in per cent, of runs of cross-entropy on the teachers' data and models."""
    taught = {(each.path.data, each.path.model) for each in teachers if each.path is not None}
    return [
        (contents.label, fmean(100.0 - record.dev_error for record in contents.run.records))
        for contents in everything
        if contents.run is not None and _is_baseline(contents.run, taught)
    ]


def _is_baseline(run: Run, taught: set[tuple[str, str]]) -> bool:
    record = run.records[0]
    return record.loss == BASELINE and record.teacher is None and (record.data, record.model) in taught
