"""Figures of training curves."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fairseq_dlf.figures import line_style, new_figure, number_whole
from fairseq_dlf.translation.reports.curves import BLEU, MOVED, System
from fairseq_dlf.translation.reports.teacher_figures import HEIGHT, WIDTH, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def students_figure(systems: Sequence[System]) -> "Figure":
    """Draw BLEU on dev against updates of students, the mean and the range over seeds."""
    figure = new_figure(WIDTH + 1.2, HEIGHT)
    axes = figure.subplots()
    _draw(axes, systems, BLEU)
    axes.set_xlabel("updates of the student")
    axes.set_ylabel("BLEU on dev")
    axes.legend(fontsize=8)
    return figure


def teachers_figure(systems: Sequence[System]) -> "Figure":
    """Draw BLEU on dev of taught students against updates of the teacher; below, the moves of Φ, where logged."""
    logged = [system for system in systems if system.band(MOVED)]
    rows = 2 if logged else 1
    figure = new_figure(WIDTH + 1.2, HEIGHT if rows == 1 else 1.6 * HEIGHT)
    panels = figure.subplots(rows, 1, squeeze=False, sharex=True)[:, 0]
    _draw(panels[0], systems, BLEU)
    panels[0].set_ylabel("BLEU on dev of a taught\nstudent (teacher's own dev)")
    if logged:
        _draw(panels[1], systems, MOVED)
        panels[1].set_ylabel("rms move of Φ\nalong an episode")
        panels[1].set_ylim(bottom=0.0)
    panels[-1].set_xlabel("updates of the teacher")
    panels[0].legend(fontsize=8)
    return figure


def _draw(axes: "Axes", systems: Sequence[System], name: str) -> None:
    for place, system in enumerate(systems):
        band = system.band(name)
        style = line_style(place)
        means = [sum(values) / len(values) for values in band.values()]
        axes.plot(list(band), means, marker=".", label=printable(system.label), **style)
        if len(system.curves) > 1:
            low, high = [[pick(values) for values in band.values()] for pick in (min, max)]
            axes.fill_between(list(band), low, high, color=style["color"], alpha=0.2, lw=0)
    axes.grid(alpha=0.3)
    number_whole(axes)
