"""Figures: their style, and how they are written. Matplotlib is optional, and loaded where a figure is drawn."""

import logging
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairseq_dlf.core.files.outputs import make_folder
from fairseq_dlf.core.files.replacement import replacing
from fairseq_dlf.core.support.errors import InputError, StateError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, without the yellow, which is faint on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("-", "--", ":", "-.")
DPI = 150
FORMATS = ("png", "pdf")
KNOWN_FORMATS = ("png", "pdf", "svg")
# In inches: the text of a page, and a column of two.
TEXT_WIDTH, COLUMN_WIDTH = 6.3, 3.1
FONT_SIZE = 8
# Fonts as TrueType: publishers refuse the Type 3 fonts that matplotlib would embed. An SVG's names are from the salt.
_WRITING: Any = {"pdf.fonttype": 42, "ps.fonttype": 42, "svg.hashsalt": "fairseq_dlf"}
# No time of writing, so that the same figure gives the same file.
_TIMELESS: dict[str, dict[str, None]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
_STYLE: Any = {"font.size": FONT_SIZE, "axes.titlesize": FONT_SIZE, "legend.fontsize": FONT_SIZE - 1}
_STYLE |= {"figure.titlesize": FONT_SIZE + 1, "lines.linewidth": 1.2}


def require_matplotlib() -> None:
    """Raise StateError where matplotlib is not installed."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise StateError("plots need matplotlib: pip install matplotlib") from error


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty figure of a size in inches."""
    # pyplot is avoided because its state is global and it may look for a display.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def line_style(place: int) -> dict[str, Any]:
    """Return colour and dashes of the line with a number; the first 28 all differ."""
    return {"color": COLOURS[place % len(COLOURS)], "ls": STYLES[place // len(COLOURS) % len(STYLES)]}


def number_whole(axes: "Axes") -> None:
    """Put whole numbers alone on the horizontal axis."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def labels_of(paths: Sequence[Path], what: str) -> list[str]:
    """Return the last parts of each path, as few as make all labels different.

    Args:
        what: the paths are of, for the message: 'folder'.

    Raises:
        InputError: there is none, or one comes twice.
    """
    parts = [path.resolve().parts for path in paths]
    for depth in range(1, max(map(len, parts), default=0) + 1):
        labels = ["/".join(part[-depth:]) for part in parts]
        if len(set(labels)) == len(labels):
            return labels
    raise InputError(f"got no {what}, or one twice ({', '.join(map(str, paths))}): pass each {what} once")


def styled() -> AbstractContextManager[None]:
    """Return the context in which figures for print are drawn: sizes of fonts and lines."""
    from matplotlib import rc_context

    return rc_context(_STYLE)


def write_figures(figures: Iterable[tuple[str, "Figure"]], out: Path, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write figures, each under its name in every format; a failure leaves an old file unchanged.

    Args:
        figures: names with figures.
        out: a folder, which is made if it is missing.
        formats: of `KNOWN_FORMATS`.

    Returns:
        The files.

    Raises:
        InputError: the folder cannot be made, or a format is unknown.
    """
    unknown = [name for name in formats if name not in KNOWN_FORMATS]
    if unknown or not formats:
        text = f"formats are {', '.join(formats) or 'none'}, wanted some of {', '.join(KNOWN_FORMATS)}"
        raise InputError(text, setting="formats")
    from matplotlib import rc_context

    for noisy in ("fontTools", "matplotlib"):
        # They tell of every glyph that they embed.
        logging.getLogger(noisy).setLevel(logging.WARNING)
    make_folder(out, "out")
    files = []
    for name, figure in figures:
        for suffix in formats:
            files.append(out / f"{name}.{suffix}")
            with replacing(files[-1]) as partial, rc_context(_WRITING):
                figure.savefig(partial, dpi=DPI, format=suffix, metadata=_TIMELESS.get(suffix))
    return files
