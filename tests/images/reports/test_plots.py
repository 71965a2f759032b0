"""Plots: which files a folder gives, what is drawn in them, and what cannot be drawn."""

import struct
import sys
import zlib

import pytest
import torch

from fairseq_dlf.core.support.errors import InputError, MissingFileError
from fairseq_dlf.core.teaching.loop.journal import TeacherStep, append_step
from fairseq_dlf.images.records.coefficients import CoefficientPath, write_coefficients
from fairseq_dlf.images.reports import plots
from fairseq_dlf.images.reports.plots import plot
from tests.images.made_records import record, write_run

NAMES = ("ant", "bee", "cat", "dog")


def write_teacher(folder, names=NAMES, start=1.0):
    """A log of 4 steps, the third collapsed, and Φ at 5 epochs: `start` times I, then a tenth more in each row."""
    folder.mkdir(parents=True)
    measures = [(None, 0.5, False), (0.6, None, False), (0.1, None, True), (0.7, 0.8, False)]
    for step, (after, validated, collapsed) in enumerate(measures):
        before, size = (None, 0.0) if step == 0 or collapsed else (0.1, 0.01 * step)
        row = TeacherStep(step, before, after, 1.0, validated, 1.0, size, 1.0, 100 * size, 1.0, collapsed, 2.0)
        append_step(folder / "teaching.jsonl", row)
    write_path(folder, names, start)
    return folder


def write_path(folder, names=NAMES, start=1.0):
    shift = 0.1 * torch.arange(5.0).view(-1, 1, 1) * torch.arange(float(len(names))).view(-1, 1)
    path = CoefficientPath(start * torch.eye(len(names)) + shift, 2.5 * torch.arange(5.0), names, "mnist", "mlp")
    write_coefficients(folder / "coefficients.safetensors", path)


def is_drawn(path):
    """Whether a file is a PNG with more than one colour, or a PDF with a page."""
    content = path.read_bytes()
    if path.suffix == ".pdf":
        return content.startswith(b"%PDF-") and b"/Type /Page" in content and len(content) > 4000
    width, height = struct.unpack(">II", content[16:24])
    at, pixels = 8, b""
    while at < len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        if content[at + 4 : at + 8] == b"IDAT":
            pixels += content[at + 8 : at + 8 + length]
        at += length + 12
    return content.startswith(b"\x89PNG") and min(width, height) > 300 and len(set(zlib.decompress(pixels))) > 50


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """`drawn(folders, **options)`: the figures by name, not written."""

    def collect(*folders, **options):
        figures = {}

        def keep(figure, path, dpi, format):
            figures[path.name.removesuffix(f".{format}.tmp")] = figure
            path.touch()

        with monkeypatch.context() as patched:
            patched.setattr("matplotlib.figure.Figure.savefig", keep)
            plot(folders, tmp_path / "plots", **options)
        return figures

    return collect


def points(line):
    return list(zip(line.get_xdata(), [round(float(y), 6) for y in line.get_ydata()], strict=True))


def lines_of(axes):
    return {line.get_label(): points(line) for line in axes.get_lines()}


# Files ----------------------------------------------------------------------------


def test_every_figure_that_the_folders_allow_is_written(tmp_path):
    taught = write_run(tmp_path / "taught", [record(seed=seed, loss="dlf") for seed in (1, 2)])
    write_path(taught / "seed2")
    folders = [write_teacher(tmp_path / "teacher"), taught, write_run(tmp_path / "lenet", [record(model="lenet")])]
    files = plot(folders, tmp_path / "made" / "plots")
    names = ["figure3", "figure4-teacher", "figure4-taught", "curves-mnist-mlp", "curves-mnist-lenet"]
    assert [path.name for path in files] == [name + suffix for name in names for suffix in (".png", ".pdf")]
    assert sorted(files) == sorted((tmp_path / "made" / "plots").iterdir())
    assert all(is_drawn(path) for path in files)


def test_folders_of_one_name_are_told_apart(tmp_path, drawn):
    folders = [write_teacher(tmp_path / model / "teacher") for model in ("mlp", "lenet")]
    figures = drawn(*folders)
    assert set(figures) == {"figure3", "figure4-mlp-teacher", "figure4-lenet-teacher"}
    assert {"mlp/teacher: validated", "lenet/teacher: validated"} <= set(lines_of(figures["figure3"].axes[0]))


# Figure 3 -------------------------------------------------------------------------


def test_figure_3_shows_the_log(tmp_path, drawn):
    above, below = drawn(write_teacher(tmp_path / "teacher"))["figure3"].axes
    lines = lines_of(above)
    assert lines["expected, episode"] == [(1, 60.0), (3, 70.0)]
    assert lines["validated"] == [(0, 50.0), (3, 80.0)]
    assert [x for x, _ in lines["collapsed"]] == [2]
    assert above.get_ylim()[0] > 40.0  # the collapsed episode's 10 % does not squeeze the rest
    assert [points(line) for line in below.get_lines()] == [[(1, 0.01), (3, 0.03)], [(1, 1.0), (3, 3.0)]]
    assert below.get_yscale() == "log"


def test_a_torn_log_is_drawn(tmp_path, drawn):
    log = write_teacher(tmp_path / "teacher") / "teaching.jsonl"
    log.write_text(log.read_text()[:-30])
    above, _ = drawn(tmp_path / "teacher")["figure3"].axes
    assert lines_of(above)["expected, episode"] == [(1, 60.0)]


def test_a_log_of_the_untaught_teacher_alone_is_drawn(tmp_path):
    log = write_teacher(tmp_path / "teacher") / "teaching.jsonl"
    log.write_text(log.read_text().splitlines(keepends=True)[0])
    assert is_drawn(plot([tmp_path / "teacher"], tmp_path / "plots")[0])


# Figure 4 -------------------------------------------------------------------------


def images_of(figure):
    return [torch.tensor(axes.get_images()[0].get_array()) for axes in figure.axes if axes.get_images()]


@pytest.mark.parametrize(("start", "title"), [(1.0, "Φ − I of mlp"), (0.2, "Φ − 0.2·I of mlp")])
def test_figure_4_shows_differences_to_where_phi_started(tmp_path, drawn, start, title):
    figure = drawn(write_teacher(tmp_path / "teacher", start=start))["figure4-teacher"]
    assert figure.get_suptitle().startswith(title)
    assert [axes.get_title() for axes in figure.axes[:3]] == ["epoch 0", "epoch 5", "epoch 10"]
    for share, shown in zip((0.0, 0.2, 0.4), images_of(figure), strict=True):
        wanted = share * torch.arange(4.0).view(-1, 1).expand(4, 4)
        torch.testing.assert_close(shown, wanted, rtol=0, atol=1e-6)
    first = figure.axes[0].get_images()[0]
    assert first.get_clim() == pytest.approx((-1.2, 1.2))
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == list(NAMES)
    assert [text.get_text() for text in figure.axes[2].texts[-4:]] == ["1.20"] * 4


def test_figure_4_shows_chosen_classes_at_the_nearest_epochs(tmp_path, drawn):
    figure = drawn(write_teacher(tmp_path / "teacher"), classes=[3, 1], points=[2, 3, 99, 0])["figure4-teacher"]
    panels = [axes for axes in figure.axes if axes.get_images()]
    assert [axes.get_title() for axes in panels] == ["epoch 2.5", "epoch 10", "epoch 0"]
    assert [label.get_text() for label in panels[0].get_yticklabels()] == ["dog", "bee"]
    torch.testing.assert_close(images_of(figure)[1][:, 0], torch.tensor([1.2, 0.4]))


@pytest.mark.parametrize("count", [4, 5])
def test_figure_4_has_a_panel_for_each_point(tmp_path, drawn, count):
    figure = drawn(write_teacher(tmp_path / "teacher"), points=[2.5 * place for place in range(count)])
    assert len(images_of(figure["figure4-teacher"])) == count


def test_many_classes_are_neither_named_nor_annotated(tmp_path, drawn):
    names = tuple(f"class {number}" for number in range(21))
    axes = drawn(write_teacher(tmp_path / "teacher", names))["figure4-teacher"].axes[0]
    assert not axes.texts and "class 1" not in {label.get_text() for label in axes.get_xticklabels()}


def test_an_untaught_phi_is_blank_and_small_differences_have_digits(tmp_path, drawn):
    folder = write_teacher(tmp_path / "teacher")
    figure = drawn(folder, points=[0])["figure4-teacher"]
    assert figure.axes[0].get_images()[0].get_clim() == pytest.approx((-plots.LEAST_LIMIT, plots.LEAST_LIMIT))
    assert not images_of(figure)[0].any()
    small = torch.eye(4) + 0.004 * (1 - torch.eye(4))
    path = CoefficientPath(small[None], torch.zeros(1), NAMES, "mnist", "mlp")
    write_coefficients(folder / "coefficients.safetensors", path)
    texts = {text.get_text() for text in drawn(folder)["figure4-teacher"].axes[0].texts}
    assert texts == {"0.0000", "0.0040"}


@pytest.mark.parametrize("number", [-1, 4])
def test_an_unknown_class_is_refused(tmp_path, number):
    with pytest.raises(ValueError, match=f"class {number} was given, but teacher has 4 classes, 0 to 3: give one"):
        plot([write_teacher(tmp_path / "teacher")], tmp_path / "plots", classes=[0, number])
    assert not (tmp_path / "plots").exists()


# Training curves ------------------------------------------------------------------


def test_curves_are_means_of_seeds_with_their_range(tmp_path, drawn):
    many = write_run(tmp_path / "many", [record(seed=1, curve=(0.5, 0.3)), record(seed=2, curve=(0.7, 0.2))])
    single = write_run(tmp_path / "single", [record(loss="smooth", curve=(0.6, 0.4))])
    (axes,) = drawn(many, single)["curves-mnist-mlp"].axes
    assert lines_of(axes) == {
        "many (mean and range of 2 seeds)": [(1, 60.0), (2, 25.0)],
        "single": [(1, 60.0), (2, 40.0)],
    }
    band = axes.collections[0].get_paths()[0].vertices
    assert {(x, round(y, 6)) for x, y in band.tolist()} >= {(1.0, 50.0), (1.0, 70.0), (2.0, 20.0), (2.0, 30.0)}
    assert axes.get_ylabel() == "dev error, %" and axes.get_xlabel() == "epoch"


@pytest.mark.parametrize(
    ("curve", "scale"), [((0.5, 0.04), "log"), ((0.5, 0.06), "linear"), ((0.5, 0.0), "linear"), ((0.0, 0.0), "linear")]
)
def test_errors_over_a_decade_are_drawn_on_a_log_scale(tmp_path, drawn, curve, scale):
    (axes,) = drawn(write_run(tmp_path / "run", [record(curve=curve)]))["curves-mnist-mlp"].axes
    assert axes.get_yscale() == scale


def test_runs_beyond_the_colours_differ_in_style(tmp_path, drawn):
    folders = [write_run(tmp_path / f"run{number}", [record()]) for number in range(9)]
    (axes,) = drawn(*folders)["curves-mnist-mlp"].axes
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.get_lines()}) == 9


# What cannot be drawn -------------------------------------------------------------


def test_folders_that_hold_nothing_are_refused(tmp_path):
    teacher, empty = write_teacher(tmp_path / "teacher"), tmp_path / "empty"
    with pytest.raises(MissingFileError, match="no folder .*empty: pass folders that `teach` and `train` have"):
        plot([teacher, empty], tmp_path / "plots")
    empty.mkdir()
    (empty / "teaching.jsonl").touch()
    with pytest.raises(ValueError, match="empty holds nothing to plot .*teaching.jsonl, coeff"):
        plot([teacher, empty], tmp_path / "plots")
    assert not (tmp_path / "plots").exists()


def test_no_folder_and_the_same_folder_twice_are_refused(tmp_path):
    teacher = write_teacher(tmp_path / "teacher")
    for folders in ([], [teacher, tmp_path / "x" / ".." / "teacher"]):
        with pytest.raises(ValueError, match="got no folder, or one twice .*: pass each folder once"):
            plot(folders, tmp_path / "plots")


def test_without_matplotlib_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(RuntimeError, match="plots need matplotlib: pip install matplotlib"):
        plot([tmp_path], tmp_path / "plots")


def test_epochs_that_are_no_numbers_and_places_that_are_no_folders_are_refused(tmp_path):
    teacher = write_teacher(tmp_path / "teacher")
    with pytest.raises(InputError, match=r"epochs are \[nan\], but must be finite numbers"):
        plot([teacher], tmp_path / "plots", points=[float("nan")])
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file cannot be a folder .File exists.: name another"):
        plot([teacher], tmp_path / "file")
