"""The paper's Figure 4, Φ as a matrix, and Φ of any form along runs."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.teaching.forms import FORMS
from fairseq_dlf.figures import COLOURS, line_style, new_figure, number_whole
from fairseq_dlf.images.records.coefficients import CoefficientPath
from fairseq_dlf.images.reports.contents import Contents
from fairseq_dlf.images.reports.look import Look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Names on the axes of more classes than these would overlap.
NAMED_CLASSES = 20
# Inches that a number of three decimals needs.
ANNOTATED_CELL = 0.3
# Differences smaller than this are left blank: magnified, they would show rounding errors.
LEAST_LIMIT = 0.001
# Runs that move Φ by less alike than this have colours of their own: one of them would be blank.
ALIKE = 5.0
# More coefficients than these are drawn as bands.
MOST_LINES = 12
BANDS = ((0.0, 1.0, 0.15), (0.1, 0.9, 0.25))


# Figure 4 ---------------------------------------------------------------------------------


class _Panel(NamedTuple):
    title: str
    values: Tensor


def common_limits(paths: Sequence[CoefficientPath]) -> list[float]:
    """Return limits of the colours of each run: Φ minus Φ before teaching, at any point, never less than a minimum.

    Runs have one limit, so that their figures can be compared, unless one moves Φ by `ALIKE` times as much as the next.
    """
    own = [max(float((path.coefficients - path.untaught).abs().max()), LEAST_LIMIT) for path in paths]
    limits: dict[float, float] = {}
    above = 0.0
    for least in sorted(set(own), reverse=True):
        above = above if limits and min(limits) <= ALIKE * least else least
        limits[least] = above
    return [limits[each] for each in own]


def matrix_figure(contents: Contents, path: CoefficientPath, look: Look, limit: float) -> "Figure":
    """Draw Φ of a run minus Φ before teaching, and how Φ moves from the run's start to its end.

    Args:
        limit: of the colours, the same in every figure that is compared.

    Raises:
        InputError: a class does not exist.
    """
    rows = _rows(path, contents.label, look)
    panels = _panels_of(path, look)
    shape = _shape(len(panels), len(rows), len(path.class_names))
    cell = look.width / shape[1] * 0.75 / len(path.class_names)
    height = shape[0] * (min(cell, 0.4) * len(rows) + 0.75) + 0.5
    figure = new_figure(look.width, max(height, 2.0))
    axes = figure.subplots(*shape, squeeze=False)
    for place, at in enumerate(axes.flat):
        if place >= len(panels):
            at.set_axis_off()
            continue
        shown = panels[place].values[rows]
        image = at.imshow(shown.numpy(), cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
        at.set_title(panels[place].title)
        _name_rows(at, path.class_names, rows, place % shape[1] == 0)
        _name_columns(at, path.class_names, place + shape[1] >= len(panels))
        if cell >= ANNOTATED_CELL:
            _annotate(at, shown, limit)
    figure.colorbar(image, ax=axes, label="difference of Φ")
    if look.titles:
        figure.suptitle(f"Φ of {path.model} on {path.data} ({contents.label}{contents.seed})")
    return figure


def _rows(path: CoefficientPath, label: str, look: Look) -> list[int]:
    count = len(path.class_names)
    rows = list(range(count)) if look.classes is None else list(look.classes)
    for number in rows:
        if not 0 <= number < count:
            text = f"class {number} was given, but {label} has {count} classes, 0 to {count - 1}: give one of these"
            raise InputError(text, setting="classes")
    return rows


def _panels_of(path: CoefficientPath, look: Look) -> list[_Panel]:
    """Return Φ at the wanted epochs minus Φ before teaching, and what moves from start to end."""
    before, start, end = path.untaught.view_as(path.matrices[0]), path.matrices[0], path.matrices[-1]
    wanted = [0.0] if look.epochs is None else look.epochs
    places = dict.fromkeys(int((path.epochs - epoch).abs().argmin()) for epoch in wanted)
    panels = [
        _Panel(f"epoch {float(path.epochs[place]):.3g}: Φ − {_before(path)}", path.matrices[place] - before)
        for place in places
    ]
    if len(path.epochs) > 1:
        most = float((end - start).abs().max())
        first, last = (f"{float(path.epochs[place]):.3g}" for place in (0, -1))
        panels.append(_Panel(f"epoch {last} − epoch {first} (at most {most:.2g})", end - start))
    return panels


def _before(path: CoefficientPath) -> str:
    if path.phi_start is None:
        return "its start"
    return "I" if path.phi_start == 1.0 else f"{path.phi_start:g}·I"


def _shape(panels: int, rows: int, classes: int) -> tuple[int, int]:
    """Return lines and columns: a few rows of Φ go below one another, matrices side by side."""
    columns = 1 if rows <= classes // 3 else min(2, panels)
    return math.ceil(panels / columns), columns


def _name_rows(axes: "Axes", names: Sequence[str], rows: Sequence[int], outer: bool) -> None:
    if len(rows) <= NAMED_CLASSES:
        axes.set_yticks(range(len(rows)), [names[number] for number in rows])
    axes.tick_params(labelleft=outer)
    if outer:
        axes.set_ylabel("true class")


def _name_columns(axes: "Axes", names: Sequence[str], outer: bool) -> None:
    if len(names) <= NAMED_CLASSES:
        axes.set_xticks(range(len(names)), names, rotation=90 if max(map(len, names)) > 2 else 0)
    axes.tick_params(labelbottom=outer)
    if outer:
        axes.set_xlabel("class whose log p is weighted")


def _annotate(axes: "Axes", values: Tensor, limit: float) -> None:
    digits = 2 if limit >= 0.1 else 3 if limit >= 0.02 else 4
    for y, row in enumerate(values.tolist()):
        for x, value in enumerate(row):
            text = f"{round(value, digits) + 0.0:.{digits}f}"
            colour = "white" if abs(value) > 0.6 * limit else "black"
            axes.text(x, y, text, ha="center", va="center", fontsize=6, color=colour)


# Φ along runs -------------------------------------------------------------------------------


def along_figure(folders: Sequence[tuple[Contents, CoefficientPath]], look: Look) -> "Figure":
    """Draw Φ of each folder along its run, a panel each, on one page.

    A matrix is drawn as its diagonal and the rest; up to `MOST_LINES` coefficients as lines; more of them as their
    median, the middle 80 % and all.
    """
    columns = 1 if look.width < 4.0 or len(folders) == 1 else min(3, len(folders))
    lines = math.ceil(len(folders) / columns)
    figure = new_figure(look.width, 1.9 * lines + 0.5)
    panels = figure.subplots(lines, columns, squeeze=False)
    for place, axes in enumerate(panels.flat):
        if place >= len(folders):
            axes.set_axis_off()
            continue
        contents, path = folders[place]
        _draw_along(axes, path)
        axes.set_title(f"{contents.label}{contents.seed}")
        axes.grid(alpha=0.3)
        number_whole(axes)
        if place + columns >= len(folders):
            axes.set_xlabel("epoch")
        if place % columns == 0:
            axes.set_ylabel("Φ")
    if look.titles:
        figure.suptitle("Φ along runs: median, middle 80 %, all")
    return figure


def _draw_along(axes: "Axes", path: CoefficientPath) -> None:
    epochs, values = path.epochs.numpy(), path.coefficients
    size = values.size(1)
    if path.is_matrix:
        diagonal = torch.eye(len(path.class_names), dtype=torch.bool).flatten()
        _draw_bands(axes, epochs, values[:, diagonal], COLOURS[0], "diagonal")
        _draw_bands(axes, epochs, values[:, ~diagonal], COLOURS[1], "off the diagonal")
    elif size <= MOST_LINES:
        for place in range(size):
            axes.plot(epochs, values[:, place].numpy(), **line_style(place))
    else:
        name = "coefficients" if path.form is None else FORMS.parse(path.form)[0]
        # Weights that start at random say nothing by themselves.
        at_random = path.form is not None and not FORMS.make(path.form).starts_neutral
        moved = ": moved" if at_random else ""
        _draw_bands(axes, epochs, values - values[0] if at_random else values, COLOURS[0], f"{name}, {size:,}{moved}")
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="best", framealpha=0.6)


def _draw_bands(axes: "Axes", epochs: Any, values: Tensor, colour: str, label: str) -> None:
    for low, high, alpha in BANDS:
        below, above = (values.quantile(share, dim=1).numpy() for share in (low, high))
        axes.fill_between(epochs, below, above, color=colour, alpha=alpha, lw=0)
    axes.plot(epochs, values.median(dim=1).values.numpy(), color=colour, label=label)
