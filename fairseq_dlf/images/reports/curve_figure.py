"""Training curves of runs with one model on the same data."""

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

import torch

from fairseq_dlf.figures import line_style, new_figure, number_whole
from fairseq_dlf.images.reports.contents import Contents
from fairseq_dlf.images.reports.look import Look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEIGHT = 3.6
# Where errors reach 0, the scale is linear, and what lies above all errors from this epoch on is cut off.
SETTLED = 3
TAUGHT = "†"


def curves_figure(members: Sequence[Contents], title: str, look: Look) -> "Figure":
    """Draw dev error along training: mean and range over seeds, with each seed's chosen epoch."""
    figure = new_figure(look.width, HEIGHT + 0.16 * len(members))
    axes = figure.subplots()
    rows = []
    for place, contents in enumerate(members):
        assert contents.run is not None
        records, style = contents.run.records, line_style(place)
        by_epoch = torch.tensor([[_error(row.dev_accuracy) for row in record.curve] for record in records])
        epochs = [row.epoch for row in records[0].curve]
        low, high = by_epoch.amin(dim=0), by_epoch.amax(dim=0)
        axes.plot(epochs, by_epoch.mean(dim=0).tolist(), label=_label(contents), **style)
        axes.fill_between(epochs, low.tolist(), high.tolist(), color=style["color"], alpha=0.2, lw=0)
        chosen = [(record.best_epoch, record.dev_error) for record in records]
        axes.plot(*zip(*chosen, strict=True), "o", ms=3.5, mec="black", mew=0.5, color=style["color"])
        rows.append(by_epoch)
    _scale(axes, rows)
    number_whole(axes)
    axes.set_xlabel("epoch")
    axes.set_ylabel("dev error, %")
    axes.grid(alpha=0.3)
    if look.titles:
        axes.set_title(f"{title}: {_seeds(members)}dots mark the epochs that were tested")
    note = f"{TAUGHT} dev is what the loss was taught by" if any(each.taught for each in members) else None
    figure.legend(loc="outside lower center", ncols=look.legend_columns, title=note)
    return figure


def _error(accuracy: float) -> float:
    return round(100.0 * (1.0 - accuracy), 6)


def _label(contents: Contents) -> str:
    assert contents.run is not None
    records = contents.run.records
    rate, test = records[0].learning_rate, fmean(record.test_error for record in records)
    return f"{contents.label}{f' {TAUGHT}' if contents.taught else ''}: rate {rate:g}, test {test:.2f} %"


def _seeds(members: Sequence[Contents]) -> str:
    counts = {len(each.run.records) for each in members if each.run is not None}
    if counts == {1}:
        return ""
    return f"mean and range of {'–'.join(map(str, sorted({min(counts), max(counts)})))} seeds, "


def _scale(axes: "Axes", rows: Sequence[torch.Tensor]) -> None:
    """Keep the first epochs from squeezing the others."""
    lowest, highest = min(float(each.min()) for each in rows), max(float(each.max()) for each in rows)
    if 0.0 < 4.0 * lowest <= highest:
        _log_scale(axes)
    elif lowest == 0.0 and all(each.size(1) > 2 * SETTLED for each in rows):
        axes.set_ylim(-0.02 * highest, 1.1 * max(float(each[:, SETTLED - 1 :].max()) for each in rows) + 1e-9)


def _log_scale(axes: "Axes") -> None:
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.yaxis.set_minor_formatter(NullFormatter())
