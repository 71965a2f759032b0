"""Figures of what teachers have learnt."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Optional

import torch
from torch import Tensor

from fairseq_dlf.core.teaching.forms.binned import Binned
from fairseq_dlf.figures import COLOURS, line_style, new_figure
from fairseq_dlf.translation.reports.agreement import comparable
from fairseq_dlf.translation.reports.layout import TYPE, Part, TypeBin, layout_of
from fairseq_dlf.translation.reports.movement import LEAST_SHARE, movement_of
from fairseq_dlf.translation.reports.taught import POINTS, TaughtTeacher
from fairseq_dlf.translation.reports.vocabulary import Vocabulary, frequency_bands

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHARE_DONE = "share of the run done, t / T"
# Of a panel in inches; a page of two columns shows one panel in its own size.
WIDTH, HEIGHT = 3.6, 2.8
LEGEND = 1.9
# A figure of agreement shows so many pairs.
MOST_PAIRS = 3
# A legend names so many examples of a bin, and of each so many letters.
LEGEND_EXAMPLES, LEGEND_LETTERS = 3, 10
_REFERENCE: dict[str, Any] = {"color": "#666666", "lw": 1.0, "ls": ":"}


def movement_figure(teachers: Sequence[TaughtTeacher]) -> "Figure":
    """Draw how far Φ moves along the run, with the least move that counts."""
    figure = new_figure(WIDTH + 0.8, HEIGHT)
    axes = figure.subplots()
    for place, teacher in enumerate(teachers):
        movement = movement_of(teacher.phi)
        moved = 100 * movement.moved / movement.size if movement.size else movement.moved
        axes.plot(_shares(), moved.tolist(), label=printable(teacher.label), **line_style(place))
    axes.axhline(100 * LEAST_SHARE, label="less counts as none", **_REFERENCE)
    axes.set_ylim(bottom=0.0)
    axes.set_xlabel(SHARE_DONE)
    axes.set_ylabel("rms of $Φ_t − Φ_0$, % of Φ")
    _finish(axes)
    return figure


def frequency_figure(teacher: TaughtTeacher, vocabulary: Vocabulary) -> "Figure":
    """Draw the coefficient of each type against its frequency, and the mean of types of about the same frequency."""
    parts = layout_of(teacher.form, len(vocabulary)).parts
    figure = new_figure(WIDTH * len(parts), HEIGHT)
    counted = vocabulary.facts.counts > 0
    counts = vocabulary.facts.counts[counted]
    for axes, part in zip(figure.subplots(1, len(parts), squeeze=False).flat, parts, strict=True):
        values = teacher.mean[part.places][counted]
        axes.plot(counts.tolist(), values.tolist(), ".", ms=3, alpha=0.35, mew=0, color=COLOURS[0])
        axes.plot([], [], ".", color=COLOURS[0], label="a type")  # for the legend, where the dots could not be seen
        middles, means, _ = frequency_bands(counts, values)
        axes.plot(middles.tolist(), means.tolist(), "o-", ms=4, color=COLOURS[1], label="mean by frequency")
        _draw_untaught(axes, teacher, part)
        axes.set_xscale("log")
        axes.set_xlabel("frequency in train")
        axes.set_ylabel(f"{part.symbol}, {part.meaning}")
        _finish(axes)
    return figure


def words_figure(teacher: TaughtTeacher, vocabulary: Vocabulary, places: Sequence[int]) -> "Figure":
    """Draw coefficients of some types along the run, and below them how far each has moved."""
    # Quoted, since matplotlib leaves out labels that begin with an underscore.
    names = [f"“{vocabulary.word(place)}”" for place in places]
    return _lines_figure(teacher, vocabulary, places, names, [line_style(number) for number in range(len(places))])


def bins_figure(teacher: TaughtTeacher, vocabulary: Vocabulary, bins: Sequence[TypeBin]) -> "Figure":
    """Draw the coefficients of each bin along the run, from frequent types (dark) to rare ones (light)."""
    from matplotlib import colormaps

    assert isinstance(teacher.form, Binned)
    # The end of the map is faint on white.
    shades = colormaps["viridis"](torch.linspace(0.0, 0.85, teacher.form.number).numpy())
    names, styles = [], []
    for number, each in enumerate(bins):
        words = " ".join(word[:LEGEND_LETTERS] for word in each.examples[:LEGEND_EXAMPLES])
        names.append(each.name if each.special else f"{each.name}: {words}")
        styles.append({"color": COLOURS[number % 7], "ls": "--"} if each.special else {"color": shades[number]})
    return _lines_figure(teacher, vocabulary, range(len(bins)), names, styles)


def weights_figure(teacher: TaughtTeacher) -> "Figure":
    """Draw the weights of regularisers along the run."""
    figure = new_figure(WIDTH + 0.8, HEIGHT)
    axes = figure.subplots()
    for place, regulariser in enumerate(teacher.regularisers):
        axes.plot(_shares(), teacher.weights[:, place].tolist(), label=regulariser.name, **line_style(place))
    axes.set_ylim(bottom=0.0)
    axes.set_xlabel(SHARE_DONE)
    axes.set_ylabel("weight of a regulariser")
    _finish(axes)
    return figure


def agreement_figure(teachers: Sequence[TaughtTeacher], vocabulary: Vocabulary) -> "Optional[Figure]":
    """Draw the coefficients of the first teacher against those of the others; None if none can be compared."""
    first, others = teachers[0], [each for each in teachers[1:] if comparable(teachers[0], each)][:MOST_PAIRS]
    if not others:
        return None
    layout = layout_of(first.form, len(vocabulary))
    figure = new_figure(HEIGHT * len(others) + 0.3, HEIGHT * len(layout.parts))
    panels = figure.subplots(len(layout.parts), len(others), squeeze=False)
    kept = vocabulary.occurs if layout.unit == TYPE else slice(None)
    for row, part in zip(panels, layout.parts, strict=True):
        means = torch.stack([each.mean[part.places][kept] for each in (first, *others)])
        margin = 0.05 * float(means.max() - means.min()) + 1e-6
        limits = float(means.min()) - margin, float(means.max()) + margin
        for axes, other, values in zip(row, others, means[1:], strict=True):
            size = 3 if layout.unit == TYPE else 8
            axes.plot(means[0].tolist(), values.tolist(), ".", ms=size, alpha=0.5, mew=0, color=COLOURS[0])
            axes.plot(limits, limits, **_REFERENCE)
            axes.set(xlim=limits, ylim=limits, aspect="equal")
            axes.set_xlabel(f"{part.symbol} of {printable(first.label)}")
            axes.set_ylabel(f"{part.symbol} of {printable(other.label)}")
            axes.grid(alpha=0.3)
    return figure


def printable(text: str) -> str:
    """Return a text as matplotlib shows it: a dollar sign begins no formula."""
    return text.replace("$", r"\$")


def _lines_figure(
    teacher: TaughtTeacher,
    vocabulary: Vocabulary,
    places: Sequence[int],
    names: Sequence[str],
    styles: Sequence[dict[str, Any]],
) -> "Figure":
    """Draw coefficients at some places of each part along the run; below, their differences from the beginning."""
    parts = layout_of(teacher.form, len(vocabulary)).parts
    figure = new_figure(WIDTH * len(parts) + LEGEND, 1.6 * HEIGHT)
    panels = figure.subplots(2, len(parts), squeeze=False, sharex=True)
    for number, part in enumerate(parts):
        above, below = panels[:, number]
        chosen = teacher.phi[:, part.places][:, list(places)]
        for place, style in enumerate(styles):
            above.plot(_shares(), chosen[:, place].tolist(), **style)
            below.plot(_shares(), (chosen[:, place] - chosen[0, place]).tolist(), **style)
        untaught = _draw_untaught(above, teacher, part)
        above.set_ylabel(f"{part.symbol}, {part.meaning}")
        below.set_ylabel(f"move of {part.symbol} since t = 0")
        below.set_xlabel(SHARE_DONE)
        for axes in (above, below):
            axes.grid(alpha=0.3)
            axes.ticklabel_format(axis="y", useOffset=False)
    labels = [*map(printable, names), *(["before teaching"] if untaught else [])]
    figure.legend(panels[0, -1].get_lines(), labels, loc="outside right upper", fontsize=8)
    return figure


def _draw_untaught(axes: "Axes", teacher: TaughtTeacher, part: Part) -> bool:
    """Draw the coefficient before teaching, where it is known and the same for all; return whether it is."""
    if teacher.untaught is None:
        return False
    start: Tensor = teacher.untaught[part.places]
    if bool((start != start[0]).any()):
        return False
    axes.axhline(float(start[0]), label="before teaching", **_REFERENCE)
    return True


def _shares() -> list[float]:
    shares: list[float] = torch.linspace(0.0, 1.0, POINTS).tolist()
    return shares


def _finish(axes: "Axes") -> None:
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
