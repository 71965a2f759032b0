"""Plots: which files a folder gives, what is drawn in them, and what cannot be drawn."""

import struct
import sys
import zlib

import pytest
import torch

from fairseq_dlf.core.support.errors import InputError, MissingFileError
from fairseq_dlf.core.teaching.forms import FORMS
from fairseq_dlf.core.teaching.loop.journal import TeacherStep, append_step
from fairseq_dlf.images.records.coefficients import CoefficientPath, write_coefficients
from fairseq_dlf.images.reports.coefficient_figures import LEAST_LIMIT
from fairseq_dlf.images.reports.look import Look
from fairseq_dlf.images.reports.plots import plot
from fairseq_dlf.images.reports.teaching_figure import chosen_step
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


def write_path(folder, names=NAMES, start=1.0, size=1.0, known=True):
    """Φ at 5 epochs: `start` times I, and a step more in each row; the first epoch has moved from it by a step, too."""
    shift = 0.1 * size * torch.arange(1.0, 6.0).view(-1, 1, 1) * torch.arange(float(len(names))).view(-1, 1)
    matrices = start * torch.eye(len(names)) + shift
    known_start = start if known else None
    path = CoefficientPath(matrices.flatten(1), 2.5 * torch.arange(5.0), names, "mnist", "mlp", phi_start=known_start)
    folder.mkdir(parents=True, exist_ok=True)
    write_coefficients(folder / "coefficients.safetensors", path)
    return folder


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

        def keep(figure, path, dpi, format, metadata):
            figures[path.name.removesuffix(f".{format}.tmp")] = figure
            path.touch()

        with monkeypatch.context() as patched:
            patched.setattr("matplotlib.figure.Figure.savefig", keep)
            plot(folders, tmp_path / "plots", Look(**options))
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
    names = ["figure3", "figure4-teacher", "figure4-taught", "coefficients", "curves-mnist-mlp", "curves-mnist-lenet"]
    assert [path.name for path in files] == [name + suffix for name in names for suffix in (".png", ".pdf")]
    assert sorted(files) == sorted((tmp_path / "made" / "plots").iterdir())
    assert all(is_drawn(path) for path in files)


def test_folders_of_one_name_are_told_apart(tmp_path, drawn):
    folders = [write_teacher(tmp_path / model / "teacher") for model in ("mlp", "lenet")]
    figures = drawn(*folders)
    assert set(figures) == {"figure3", "figure4-mlp-teacher", "figure4-lenet-teacher", "coefficients"}
    assert {"mlp/teacher: validated", "lenet/teacher: validated"} <= set(lines_of(figures["figure3"].axes[0]))


def test_the_same_folders_give_the_same_files(tmp_path):
    folders = [write_teacher(tmp_path / "teacher"), write_run(tmp_path / "run", [record()])]
    first, second = (
        [path.read_bytes() for path in plot(folders, tmp_path / name, formats=["pdf", "png", "svg"])]
        for name in ("first", "second")
    )
    assert len(first) == 12 and first == second


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"width": 1.0}, "the width is 1 inches, wanted 2.5 to 20"),
        ({"epochs": [float("nan")]}, r"epochs are \[nan\], but must be finite numbers"),
    ],
)
def test_a_look_that_cannot_be_is_refused(options, words):
    with pytest.raises(InputError, match=words):
        Look(**options)


def test_titles_can_be_left_to_the_caption(tmp_path, drawn):
    folders = [write_teacher(tmp_path / "teacher"), write_run(tmp_path / "run", [record()])]
    for titles, figures in ((True, drawn(*folders)), (False, drawn(*folders, titles=False))):
        for name in ("figure3", "figure4-teacher", "coefficients"):
            assert bool(figures[name].get_suptitle()) == titles
        assert bool(figures["curves-mnist-mlp"].axes[0].get_title()) == titles


# Figure 3 -------------------------------------------------------------------------


def test_figure_3_shows_the_log(tmp_path, drawn):
    above, middle, below = drawn(write_teacher(tmp_path / "teacher"))["figure3"].axes
    lines = lines_of(above)
    assert lines["measure after the episode"] == [(1, 60.0), (3, 70.0)]
    assert lines["validated"] == [(0, 50.0), (3, 80.0)] and lines["chosen"] == [(3, 80.0)]
    assert [x for x, _ in lines["collapsed"]] == [2]
    assert above.get_ylim()[0] > 40.0  # the collapsed episode's 10 % does not squeeze the rest
    assert [points(line) for line in middle.get_lines()] == [[(1, 0.01), (3, 0.03)]]
    assert [points(line) for line in below.get_lines()] == [[(1, 1.0), (3, 3.0)]]
    assert middle.get_yscale() == below.get_yscale() == "log"
    assert below.get_xlim() == pytest.approx((-0.06, 3.06))


def test_the_first_of_equal_teachers_is_the_chosen_one():
    steps = [
        TeacherStep(n, None, None, None, dev, 1.0, 0.0, 1.0, 1.0, 1.0, False, 1.0)
        for n, dev in enumerate((0.5, 0.8, None, 0.8))
    ]
    assert chosen_step(steps).step == 1
    assert chosen_step(steps[2:3]) is None


def test_cross_entropy_on_the_same_data_is_the_baseline(tmp_path, drawn):
    seeds = [record(seed=1, curve=(0.5, 0.1)), record(seed=2, curve=(0.7, 0.2))]
    runs = {
        "ce": seeds,
        "taught": [record(loss="dlf", taught_on="mlp")],
        "lenet": [record(model="lenet")],
    }
    folders = [write_run(tmp_path / name, records) for name, records in runs.items()]
    lines = lines_of(drawn(write_teacher(tmp_path / "teacher"), *folders)["figure3"].axes[0])
    assert [y for _, y in lines["ce, best epoch"]] == [85.0, 85.0]
    assert not {"taught, best epoch", "lenet, best epoch"} & set(lines)


def test_a_torn_log_is_drawn(tmp_path, drawn):
    log = write_teacher(tmp_path / "teacher") / "teaching.jsonl"
    log.write_text(log.read_text()[:-30])
    above, *_ = drawn(tmp_path / "teacher")["figure3"].axes
    assert lines_of(above)["measure after the episode"] == [(1, 60.0)]


def test_a_log_of_the_untaught_teacher_alone_is_drawn(tmp_path):
    log = write_teacher(tmp_path / "teacher") / "teaching.jsonl"
    log.write_text(log.read_text().splitlines(keepends=True)[0])
    assert is_drawn(plot([tmp_path / "teacher"], tmp_path / "plots")[0])


# Figure 4 -------------------------------------------------------------------------


def images_of(figure):
    return [torch.tensor(axes.get_images()[0].get_array()) for axes in figure.axes if axes.get_images()]


def panels_of(figure):
    return [axes for axes in figure.axes if axes.get_images()]


@pytest.mark.parametrize(("start", "before"), [(1.0, "I"), (0.2, "0.2·I")])
def test_figure_4_shows_what_was_taught_and_what_moves(tmp_path, drawn, start, before):
    figure = drawn(write_teacher(tmp_path / "teacher", start=start))["figure4-teacher"]
    assert figure.get_suptitle() == "Φ of mlp on mnist (teacher)"
    titles = [axes.get_title() for axes in panels_of(figure)]
    assert titles == [f"epoch 0: Φ − {before}", "epoch 10 − epoch 0 (at most 1.2)"]
    for share, shown in zip((0.1, 0.4), images_of(figure), strict=True):
        wanted = share * torch.arange(4.0).view(-1, 1).expand(4, 4)
        torch.testing.assert_close(shown, wanted, rtol=0, atol=1e-6)
    for axes in panels_of(figure):
        assert axes.get_images()[0].get_clim() == pytest.approx((-1.5, 1.5))
    assert [label.get_text() for label in panels_of(figure)[0].get_xticklabels()] == list(NAMES)
    assert panels_of(figure)[0].get_xlabel() == "class whose log p is weighted"


def test_figure_4_names_the_seed_among_several(tmp_path, drawn):
    taught = write_run(tmp_path / "taught", [record(seed=seed, loss="dlf") for seed in (1, 2)])
    write_path(taught / "seed1")
    assert drawn(taught)["figure4-taught"].get_suptitle() == "Φ of mlp on mnist (taught, seed 1 of 2)"


def test_where_the_start_is_not_known_figure_4_begins_at_the_run(tmp_path, drawn):
    figure = drawn(write_path(tmp_path / "old", known=False), epochs=[0, 10])["figure4-old"]
    assert panels_of(figure)[1].get_title() == "epoch 10: Φ − its start"
    assert not images_of(figure)[0].any() and images_of(figure)[1].any()


def test_runs_alike_have_the_same_colours_and_others_their_own(tmp_path, drawn):
    sizes = {"large": 10.0, "one": 1.0, "half": 0.5, "small": 0.01}
    folders = [write_path(tmp_path / name, size=size) for name, size in sizes.items()]
    figures = drawn(*folders)
    limits = {name: panels_of(figures[f"figure4-{name}"])[0].get_images()[0].get_clim()[1] for name in sizes}
    assert limits == pytest.approx({"large": 15.0, "one": 1.5, "half": 1.5, "small": 0.015})


def test_figure_4_shows_chosen_classes_at_the_nearest_epochs(tmp_path, drawn):
    figure = drawn(write_teacher(tmp_path / "teacher"), classes=[3, 1], epochs=[2, 3, 99, 0])["figure4-teacher"]
    titles = [axes.get_title().partition(":")[0] for axes in panels_of(figure)]
    assert titles == ["epoch 2.5", "epoch 10", "epoch 0", "epoch 10 − epoch 0 (at most 1.2)"]
    assert [label.get_text() for label in panels_of(figure)[0].get_yticklabels()] == ["dog", "bee"]
    torch.testing.assert_close(images_of(figure)[1][:, 0], torch.tensor([1.5, 0.5]))


def test_numbers_stand_where_there_is_room_for_them(tmp_path, drawn):
    folder = write_teacher(tmp_path / "teacher")
    wide, narrow = (drawn(folder, width=width)["figure4-teacher"].axes[0] for width in (6.3, 2.5))
    assert [text.get_text() for text in wide.texts[-4:]] == ["0.30"] * 4 and not narrow.texts


def test_many_classes_are_not_named(tmp_path, drawn):
    names = tuple(f"class {number}" for number in range(21))
    axes = drawn(write_teacher(tmp_path / "teacher", names))["figure4-teacher"].axes[0]
    assert not axes.texts and "class 1" not in {label.get_text() for label in axes.get_xticklabels()}


def test_an_untaught_phi_is_blank_and_small_differences_have_digits(tmp_path, drawn):
    path = CoefficientPath(torch.eye(4).flatten()[None], torch.zeros(1), NAMES, "mnist", "mlp", phi_start=1.0)
    write_coefficients(tmp_path / "coefficients.safetensors", path)
    (panel,) = panels_of(drawn(tmp_path)[f"figure4-{tmp_path.name}"])
    assert panel.get_images()[0].get_clim() == pytest.approx((-LEAST_LIMIT, LEAST_LIMIT))
    assert {text.get_text() for text in panel.texts} == {"0.0000"}


# Φ along runs ---------------------------------------------------------------------


def write_form(folder, form, values, **header):
    folder.mkdir()
    path = CoefficientPath(values, torch.arange(float(len(values))), NAMES, "mnist", "mlp", form, **header)
    write_coefficients(folder / "coefficients.safetensors", path)
    return folder


def test_phi_of_every_form_is_on_one_page(tmp_path, drawn):
    network = FORMS.make("loss_network")
    folders = [
        write_path(tmp_path / "matrix"),
        write_form(tmp_path / "few", None, torch.tensor([[1.0, 2.0], [3.0, 4.0]])),
        write_form(tmp_path / "network", "loss_network", torch.arange(2.0)[:, None] + network.neutral(4)),
    ]
    figures = drawn(*folders)
    assert set(figures) == {"figure4-matrix", "coefficients"}
    matrix, few, weights = figures["coefficients"].axes
    assert [axes.get_title() for axes in (matrix, few, weights)] == ["matrix", "few", "network"]
    lines = lines_of(matrix)
    assert [y for _, y in lines["off the diagonal"]] == pytest.approx([0.1 * n for n in (1, 2, 3, 4, 5)])
    assert lines["diagonal"][0] == (0.0, 1.1)
    assert [points(line) for line in few.get_lines()] == [[(0, 1.0), (1, 3.0)], [(0, 2.0), (1, 4.0)]]
    assert list(lines_of(weights).values()) == [[(0, 0.0), (1, 1.0)]]


@pytest.mark.parametrize("number", [-1, 4])
def test_an_unknown_class_is_refused(tmp_path, number):
    with pytest.raises(ValueError, match=f"class {number} was given, but teacher has 4 classes, 0 to 3: give one"):
        plot([write_teacher(tmp_path / "teacher")], tmp_path / "plots", Look(classes=[0, number]))
    assert not (tmp_path / "plots").exists()


# Training curves ------------------------------------------------------------------


def test_curves_are_means_of_seeds_with_their_range(tmp_path, drawn):
    many = write_run(tmp_path / "many", [record(seed=1, curve=(0.5, 0.3)), record(seed=2, curve=(0.7, 0.2))])
    single = write_run(tmp_path / "single", [record(loss="smooth", curve=(0.6, 0.4))])
    (axes,) = drawn(many, single)["curves-mnist-mlp"].axes
    lines = lines_of(axes)
    labels = ["many: rate 0.1, test 1.00 %", "single: rate 0.1, test 1.00 %"]
    assert [lines[label] for label in labels] == [[(1, 60.0), (2, 25.0)], [(1, 60.0), (2, 40.0)]]
    assert [points(line) for line in axes.get_lines() if line.get_marker() == "o"] == [
        [(2, 30.0), (2, 20.0)],
        [(2, 40.0)],
    ]
    assert axes.get_title() == "mnist, mlp: mean and range of 1–2 seeds, dots mark the epochs that were tested"
    band = axes.collections[0].get_paths()[0].vertices
    assert {(x, round(y, 6)) for x, y in band.tolist()} >= {(1.0, 50.0), (1.0, 70.0), (2.0, 20.0), (2.0, 30.0)}
    assert axes.get_ylabel() == "dev error, %" and axes.get_xlabel() == "epoch"


def test_dev_of_taught_students_is_marked_as_what_the_loss_was_taught_by(tmp_path, drawn):
    taught = write_run(tmp_path / "taught", [record(loss="dlf", taught_on="mlp")])
    figure = drawn(taught, write_run(tmp_path / "plain", [record()]))["curves-mnist-mlp"]
    (legend,) = figure.legends
    assert legend.get_title().get_text() == "† dev is what the loss was taught by"
    assert [text.get_text().partition(":")[0] for text in legend.get_texts()] == ["taught †", "plain"]


@pytest.mark.parametrize(
    ("curve", "scale"), [((0.5, 0.2), "linear"), ((0.5, 0.1), "log"), ((0.5, 0.0), "linear"), ((0.0, 0.0), "linear")]
)
def test_errors_over_a_wide_range_are_drawn_on_a_log_scale(tmp_path, drawn, curve, scale):
    (axes,) = drawn(write_run(tmp_path / "run", [record(curve=curve)]))["curves-mnist-mlp"].axes
    assert axes.get_yscale() == scale


def test_where_errors_reach_0_the_first_epochs_are_cut_off(tmp_path, drawn):
    curve = (0.9, 0.5, 0.04, 0.02, 0.01, 0.0, 0.0)
    (axes,) = drawn(write_run(tmp_path / "run", [record(curve=curve)]))["curves-mnist-mlp"].axes
    assert axes.get_ylim()[1] == pytest.approx(4.4, abs=0.01)


def test_runs_beyond_the_colours_differ_in_style(tmp_path, drawn):
    folders = [write_run(tmp_path / f"run{number}", [record()]) for number in range(9)]
    (axes,) = drawn(*folders)["curves-mnist-mlp"].axes
    lines = [line for line in axes.get_lines() if line.get_marker() != "o"]
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 9


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


def test_places_that_are_no_folders_and_unknown_formats_are_refused(tmp_path):
    teacher = write_teacher(tmp_path / "teacher")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file cannot be a folder .File exists.: name another"):
        plot([teacher], tmp_path / "file")
    for formats, got in ((["png", "gif"], "png, gif"), ([], "none")):
        with pytest.raises(InputError, match=f"formats are {got}, wanted some of png, pdf, svg"):
            plot([teacher], tmp_path / "plots", formats=formats)
