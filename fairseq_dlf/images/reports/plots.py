"""The paper's Figures 3 and 4, Φ along runs and training curves, from the folders of `teach`, `adapt` and `train`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fairseq_dlf.figures import FORMATS, require_matplotlib, styled, write_figures
from fairseq_dlf.images.reports.coefficient_figures import along_figure, common_limits, matrix_figure
from fairseq_dlf.images.reports.contents import Contents, contents_of
from fairseq_dlf.images.reports.curve_figure import curves_figure
from fairseq_dlf.images.reports.look import Look
from fairseq_dlf.images.reports.teaching_figure import teaching_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot(folders: Sequence[Path], out: Path, look: Look | None = None, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Draw every figure that the folders' contents allow.

    figure3: the dev measure along teacher steps; figure4-FOLDER: a matrix Φ of a run (the first of several seeds)
    minus Φ before teaching; coefficients: Φ of every folder along its run, on one page; curves-DATA-MODEL: dev error
    along training.

    Args:
        folders: folders that `teach`, `adapt` and `train` have written.
        out: folder of the plots; it is created if missing.
        look: sizes, and what of Φ is shown.
        formats: of `KNOWN_FORMATS`.

    Returns:
        The files. The same contents give the same files, byte for byte, with one version of matplotlib.

    Raises:
        MissingFileError: a folder does not exist.
        InputError: a folder holds nothing to plot or was given twice, a class does not exist, a format is unknown, or
            the folder `out` cannot be created.
        StateError: matplotlib is missing.
    """
    require_matplotlib()
    contents = contents_of(folders)
    with styled():
        return write_figures(list(_figures(contents, look or Look())), out, formats)


def _figures(folders: Sequence[Contents], look: Look) -> Iterator[tuple[str, "Figure"]]:
    teachers = [contents for contents in folders if contents.steps]
    if teachers:
        yield "figure3", teaching_figure(teachers, folders, look)
    paths = [(contents, contents.path) for contents in folders if contents.path is not None]
    matrices = [(contents, path) for contents, path in paths if path.is_matrix]
    limits = common_limits([path for _, path in matrices])
    for (contents, path), limit in zip(matrices, limits, strict=True):
        yield f"figure4-{contents.label.replace('/', '-')}", matrix_figure(contents, path, look, limit)
    if paths:
        yield "coefficients", along_figure(paths, look)
    groups: dict[tuple[str, str], list[Contents]] = {}
    for contents in folders:
        if contents.run is not None:
            record = contents.run.records[0]
            groups.setdefault((record.data, record.model), []).append(contents)
    for (data, model), members in groups.items():
        yield f"curves-{data}-{model}", curves_figure(members, f"{data}, {model}", look)
