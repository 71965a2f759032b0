"""The paper's Figures 3 and 4 and training curves, from the folders of `teach` and `train`."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from fairseq_dlf.core.support.errors import InputError, MissingFileError
from fairseq_dlf.core.teaching.loop.journal import LOG_NAME, TeacherStep, read_steps
from fairseq_dlf.figures import (
    COLOURS,
    labels_of,
    line_style,
    new_figure,
    number_whole,
    require_matplotlib,
    write_figures,
)
from fairseq_dlf.images.records.coefficients import PATH_NAME, CoefficientPath, read_coefficients
from fairseq_dlf.images.records.training import RECORD_NAME, Run, find_runs, run_files

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Names on the axes, or values in the cells, of more classes than these would overlap.
NAMED_CLASSES, ANNOTATED_CLASSES = 20, 10
# Differences smaller than this are left blank: magnified, they would show rounding errors.
LEAST_LIMIT = 0.001


class _Contents(NamedTuple):
    """Contents of a folder, under a label that no other folder has."""

    label: str
    steps: list[TeacherStep]
    run: Run | None
    path: CoefficientPath | None


def plot(
    folders: Sequence[Path],
    out: Path,
    classes: Sequence[int] | None = None,
    points: Sequence[float] | None = None,
) -> list[Path]:
    """Draw every figure that the folders' contents allow, as PNG and PDF.

    figure3: the dev measure along teacher steps; figure4-FOLDER: Φ − c I of a
    taught student (the first of several seeds); curves-DATA-MODEL: dev error along training.

    Args:
        folders: folders that `teach` and `train` have written.
        out: folder of the plots; it is created if missing.
        classes: rows of Φ to show; None shows all.
        points: epochs of Φ to show, each replaced by the nearest recorded one; None shows start, middle and end.

    Returns:
        The files.

    Raises:
        MissingFileError: a folder does not exist.
        InputError: a folder holds nothing to plot or was given twice, a class does not exist, an epoch is no
            number, or the folder `out` cannot be created.
        StateError: matplotlib is missing.
    """
    require_matplotlib()
    if not all(map(math.isfinite, points or ())):
        raise InputError(f"epochs are {list(points or ())}, but must be finite numbers", setting="epochs")
    contents = [_contents(folder, label) for folder, label in zip(folders, labels_of(folders, "folder"), strict=True)]
    figures = list(_figures(contents, classes, points))
    return write_figures(figures, out)


# Contents of folders ---------------------------------------------------------------


def _contents(folder: Path, label: str) -> _Contents:
    if not folder.is_dir():
        raise MissingFileError(f"there is no folder {folder}: pass folders that `teach` and `train` have written")
    log, paths = folder / LOG_NAME, run_files(folder, PATH_NAME)
    contents = _Contents(
        label,
        steps=read_steps(log) if log.is_file() else [],
        run=find_runs([folder])[0] if run_files(folder, RECORD_NAME) else None,
        path=read_coefficients(paths[0]) if paths else None,
    )
    if not any(contents[1:]):
        raise InputError(
            f"{folder} holds nothing to plot ({LOG_NAME}, {PATH_NAME} or {RECORD_NAME}): pass folders of "
            "`teach`, or of `train` at its end"
        )
    return contents


def _figures(
    folders: Sequence[_Contents], classes: Sequence[int] | None, points: Sequence[float] | None
) -> Iterator[tuple[str, "Figure"]]:
    teachers = [contents for contents in folders if contents.steps]
    if teachers:
        yield "figure3", _teaching_figure(teachers)
    for contents in folders:
        if contents.path is not None:
            name = f"figure4-{contents.label.replace('/', '-')}"
            yield name, _coefficient_figure(contents.path, contents.label, classes, points)
    groups: dict[tuple[str, str], list[_Contents]] = {}
    for contents in folders:
        if contents.run is not None:
            record = contents.run.records[0]
            groups.setdefault((record.data, record.model), []).append(contents)
    for (data, model), members in groups.items():
        yield f"curves-{data}-{model}", _curves_figure(members, f"{data}, {model}")


# Figure 3: teaching -------------------------------------------------------------------


def _teaching_figure(teachers: Sequence[_Contents]) -> "Figure":
    """Draw the paper's Figure 3, with the sizes of the teacher's updates below it."""
    figure = new_figure(9.5, 6.5)
    above, below = figure.subplots(2, 1, sharex=True)
    for place, (label, steps, _, _) in enumerate(teachers):
        colour = COLOURS[place % len(COLOURS)]
        prefix = f"{label}: " if len(teachers) > 1 else ""
        _draw_measures(above, steps, colour, prefix)
        _draw_collapses(above, steps, colour, prefix, height=0.02 + 0.04 * place)
        _draw_norms(below, steps, colour, prefix)
    above.set_ylabel("dev accuracy, %")
    above.set_title("Students along the teacher's training")
    below.set_ylabel("size (no unit, log scale)")
    below.set_yscale("log")
    below.set_xlabel("teacher steps (episodes)")
    number_whole(below)
    for axes in (above, below):
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[1]:
            # The lines of several teachers leave no room for it inside the axes.
            axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return figure


def _draw_measures(axes: "Axes", steps: Sequence[TeacherStep], colour: str, prefix: str) -> None:
    measures = [
        (row.step, 100.0 * row.measure_after) for row in steps if row.measure_after is not None and not row.collapsed
    ]
    if measures:
        axes.plot(
            *zip(*measures, strict=True), ".-", color=colour, lw=0.8, alpha=0.7, label=f"{prefix}expected, episode"
        )
    valid = [(row.step, 100.0 * row.dev_accuracy) for row in steps if row.dev_accuracy is not None]
    if valid:
        axes.plot(*zip(*valid, strict=True), "o-", color=colour, lw=2.5, ms=6, label=f"{prefix}validated")


def _draw_collapses(axes: "Axes", steps: Sequence[TeacherStep], colour: str, prefix: str, height: float) -> None:
    """Draw crosses at a height of the axes, in [0, 1]: at their measures they would squeeze all other points."""
    collapsed = [row.step for row in steps if row.collapsed]
    if collapsed:
        heights, edge = [height] * len(collapsed), axes.get_xaxis_transform()
        axes.plot(collapsed, heights, "x", color=colour, mew=2, label=f"{prefix}collapsed", transform=edge)


def _draw_norms(axes: "Axes", steps: Sequence[TeacherStep], colour: str, prefix: str) -> None:
    learned = [row for row in steps if row.dtheta_norm > 0.0]
    if not learned:
        return
    numbers = [row.step for row in learned]
    axes.plot(numbers, [row.dtheta_norm for row in learned], ".-", color=colour, label=f"{prefix}update ‖Δθ‖")
    leverages = [row.leverage for row in learned]
    axes.plot(numbers, leverages, ".--", color=colour, label=f"{prefix}leverage ‖Σ ∂M/∂Φ‖₁")


# Figure 4: coefficients -----------------------------------------------------------------


def _coefficient_figure(
    path: CoefficientPath, label: str, classes: Sequence[int] | None, points: Sequence[float] | None
) -> "Figure":
    """Draw the paper's Figure 4, as differences from the multiple of the identity that is nearest to Φ at the start."""
    count = len(path.class_names)
    rows = list(range(count)) if classes is None else list(classes)
    for number in rows:
        if not 0 <= number < count:
            text = f"class {number} was given, but {label} has {count} classes, 0 to {count - 1}: give one of these"
            raise InputError(text, setting="classes")
    places = _places(path.epochs, points)
    scale = round(float(path.coefficients[0].diagonal().mean()), 2)
    shown = (path.coefficients - scale * torch.eye(count))[places][:, rows]
    limit = max(float(shown.abs().max()), LEAST_LIMIT)
    figure, panels = _panels(path.class_names, len(rows), len(places))
    columns = panels.shape[1]
    for number, axes in enumerate(panels.flat):
        if number >= len(places):
            axes.set_axis_off()
            continue
        image = axes.imshow(shown[number].numpy(), cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
        axes.set_title(f"epoch {float(path.epochs[places[number]]):.3g}")
        _name_rows(axes, path.class_names, rows, number % columns == 0)
        _name_columns(axes, path.class_names, columns > 1 or number == len(places) - 1)
        if count <= ANNOTATED_CLASSES:
            _annotate(axes, shown[number], limit)
    what = "Φ − I" if scale == 1.0 else f"Φ − {scale:g}·I"
    figure.colorbar(image, ax=panels, label=what)
    figure.suptitle(f"{what} of {path.model} on {path.data} ({label})")
    return figure


def _panels(names: Sequence[str], rows: int, points: int) -> tuple["Figure", Any]:
    """Return a figure and its (lines, columns) of axes: a few rows go below one another, matrices side by side."""
    columns = 1 if rows <= len(names) // 2 else min(3, points)
    if points == 4 and columns > 1:
        columns = 2
    lines = math.ceil(points / columns)
    # In inches: the names of classes are written vertically below the panels.
    margin = 0.08 * max(map(len, names)) if len(names) <= NAMED_CLASSES else 0.0
    height = lines * (4.0 * rows / len(names) + 0.5) + (margin + 1.0) * (lines if columns > 1 else 1)
    figure = new_figure(max(4.4 * columns + margin + 1.3, 6.5), max(height, 2.6))
    return figure, figure.subplots(lines, columns, squeeze=False)


def _places(epochs: Tensor, points: Sequence[float] | None) -> list[int]:
    """Return the places of the recorded epochs nearest to `points`, each once."""
    if points is None:
        last = len(epochs) - 1
        return sorted({0, last // 2, last})
    return list(dict.fromkeys(int((epochs - point).abs().argmin()) for point in points))


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
        axes.set_xlabel("class of the probability")


def _annotate(axes: "Axes", values: Tensor, limit: float) -> None:
    digits = 2 if limit >= 0.1 else 3 if limit >= 0.02 else 4
    for y, row in enumerate(values.tolist()):
        for x, value in enumerate(row):
            text = f"{round(value, digits) + 0.0:.{digits}f}"
            colour = "white" if abs(value) > 0.6 * limit else "black"
            axes.text(x, y, text, ha="center", va="center", fontsize=6, color=colour)


# Training curves ----------------------------------------------------------------------


def _curves_figure(members: Sequence[_Contents], title: str) -> "Figure":
    figure = new_figure(7.0, 4.5)
    axes = figure.subplots()
    lowest, highest = math.inf, 0.0
    for place, contents in enumerate(members):
        assert contents.run is not None
        errors = [[100.0 * (1.0 - row.dev_accuracy) for row in record.curve] for record in contents.run.records]
        epochs = [row.epoch for row in contents.run.records[0].curve]
        by_epoch = torch.tensor(errors, dtype=torch.float64)
        low, high = by_epoch.amin(dim=0), by_epoch.amax(dim=0)
        style = line_style(place)
        seeds = f" (mean and range of {len(errors)} seeds)" if len(errors) > 1 else ""
        axes.plot(epochs, by_epoch.mean(dim=0).tolist(), label=contents.label + seeds, **style)
        axes.fill_between(epochs, low.tolist(), high.tolist(), color=style["color"], alpha=0.2, lw=0)
        lowest, highest = min(lowest, float(low.min())), max(highest, float(high.max()))
    if 0.0 < 10.0 * lowest <= highest:
        _log_scale(axes)
    number_whole(axes)
    axes.set_xlabel("epoch")
    axes.set_ylabel("dev error, %")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure


def _log_scale(axes: "Axes") -> None:
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.yaxis.set_minor_formatter(NullFormatter())
