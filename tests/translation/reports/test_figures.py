"""What the figures of reports show."""

import pytest
import torch

from fairseq_dlf.core.teaching.teachers import ScheduleTeacher, StaticTeacher
from fairseq_dlf.translation.reports import curve_figures, teacher_figures
from fairseq_dlf.translation.reports.curves import Curve, System
from fairseq_dlf.translation.reports.layout import bins_in_words
from fairseq_dlf.translation.reports.taught import POINTS, path_of_progress, read_taught
from tests.translation.reports.made_teachers import FIRST, TYPES


@pytest.fixture
def read(save, vocabulary):
    return lambda label, *given, **named: read_taught(
        save(label, *given, **named), label, vocabulary, path_of_progress()
    )


def ends(line):
    """The first and the last point of a line."""
    xs, ys = line.get_xdata(), line.get_ydata()
    return [(xs[0], pytest.approx(ys[0], abs=1e-6)), (xs[-1], pytest.approx(ys[-1], abs=1e-6))]


def rising(factor=1.0):
    """A coefficient for each type: its number at the start, then `factor` times as much again."""
    numbers = torch.arange(float(TYPES))
    return ScheduleTeacher(torch.stack([numbers, (1 + factor) * numbers], dim=1))


def test_movement_is_a_share_of_the_size_of_phi(read):
    (axes,) = teacher_figures.movement_figure(
        [read("up", rising()), read("still", StaticTeacher(torch.ones(TYPES)))]
    ).axes
    up, still, least = axes.get_lines()
    assert ends(up) == [(0.0, 0.0), (1.0, 50.0)] and ends(still) == [(0.0, 0.0), (1.0, 0.0)]
    assert list(least.get_ydata()) == [1.0, 1.0] and up.get_label() == "up"


def test_frequency_is_against_phi_averaged_over_the_run(read, vocabulary):
    (axes,) = teacher_figures.frequency_figure(read("up", rising()), vocabulary).axes
    types, _, means, untaught = axes.get_lines()
    assert list(zip(types.get_xdata(), types.get_ydata(), strict=True))[:2] == [
        (1000, 1.5 * FIRST),
        (800, 1.5 * (FIRST + 1)),
    ]
    assert len(types.get_xdata()) == 7 and axes.get_xscale() == "log"
    assert means.get_ydata()[-1] == pytest.approx(1.5 * (FIRST + 0.5)) and list(untaught.get_ydata()) == [1.0, 1.0]


def test_words_are_drawn_with_their_moves_below(read, vocabulary):
    figure = teacher_figures.words_figure(read("up", rising()), vocabulary, [FIRST, FIRST + 4])
    above, below = figure.axes
    assert ends(above.get_lines()[1]) == [(0.0, 8.0), (1.0, 16.0)]
    assert ends(below.get_lines()[1]) == [(0.0, 0.0), (1.0, 8.0)]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["“the”", r"“_odd|\$x\$”", "before teaching"]


def test_bins_are_named_by_their_words(read, vocabulary):
    teacher = read("b", ScheduleTeacher(torch.arange(10.0).view(10, 1)), "bins(number=2,kinds=1)")
    figure = teacher_figures.bins_figure(teacher, vocabulary, bins_in_words(teacher.form, vocabulary))
    assert len(figure.axes) == 4
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names[:2] == ["1: the", "2: house _odd|\\$x\\$ <b>"]
    assert names[2:] == ["continuation pieces", "punctuation", "end of sentence", "before teaching"]
    last = figure.axes[1].get_lines()[4]
    assert ends(last) == [(0.0, 9.0), (1.0, 9.0)] and last.get_linestyle() == "--"


def test_weights_of_regularisers_are_drawn_by_name(read):
    knots = torch.cat([torch.ones(TYPES, 2), torch.tensor([[1.0, 3.0]])])
    (axes,) = teacher_figures.weights_figure(read("w", ScheduleTeacher(knots), regularisers="r_drop(start=1)")).axes
    (line,) = axes.get_lines()
    assert ends(line) == [(0.0, 1.0), (1.0, 3.0)] and line.get_label() == "r_drop"


def test_agreement_is_with_the_first_teacher_at_equal_limits(read, vocabulary):
    teachers = [read(name, rising(factor)) for name, factor in (("one", 1), ("two", 0), ("three", 3))]
    figure = teacher_figures.agreement_figure(teachers, vocabulary)
    assert [axes.get_ylabel() for axes in figure.axes] == ["Φ of two", "Φ of three"]
    assert len({(*axes.get_xlim(), *axes.get_ylim()) for axes in figure.axes}) == 1
    points = figure.axes[1].get_lines()[0]
    assert list(points.get_xdata())[:2] == pytest.approx([1.5 * 2, 1.5 * FIRST])  # </s>, the
    assert list(points.get_ydata())[:2] == pytest.approx([2.5 * 2, 2.5 * FIRST])
    other = read("four", StaticTeacher(torch.rand(2 * TYPES)), "smoothed")
    assert teacher_figures.agreement_figure([other, *teachers], vocabulary) is None


# Curves ---------------------------------------------------------------------------


def system(label, *seeds, of_teacher=False):
    return System(label, tuple(Curve(f"{label}.log", of_teacher, seed) for seed in seeds))


def test_students_are_means_with_the_range_of_seeds():
    seeds = [{10: {"bleu": 1.0}, 20: {"bleu": 4.0}}, {10: {"bleu": 3.0}, 20: {"bleu": 5.0}}]
    (axes,) = curve_figures.students_figure([system("two", *seeds), system("one", seeds[0])]).axes
    two, one = axes.get_lines()
    assert list(two.get_ydata()) == [2.0, 4.5] and list(one.get_ydata()) == [1.0, 4.0]
    (band,) = axes.collections
    assert {(x, y) for x, y in band.get_paths()[0].vertices.tolist()} >= {(10, 1), (10, 3), (20, 4), (20, 5)}


def test_teachers_have_a_panel_of_moves_where_they_are_logged():
    old, new = {2: {"bleu": 30.0}}, {2: {"bleu": 31.0, "phi_moved": 0.2}}
    assert len(curve_figures.teachers_figure([system("old", old, of_teacher=True)]).axes) == 1
    figure = curve_figures.teachers_figure([system("old", old, of_teacher=True), system("new", new, of_teacher=True)])
    above, below = figure.axes
    assert [list(line.get_ydata()) for line in above.get_lines()] == [[30.0], [31.0]]
    drawn = [line for line in below.get_lines() if len(line.get_xdata())]
    assert [list(line.get_ydata()) for line in drawn] == [[0.2]]
    # A teacher has the same colour in both panels.
    assert drawn[0].get_color() == above.get_lines()[1].get_color()
    assert "teacher's own dev" in above.get_ylabel()


def test_a_path_has_enough_points_to_bend():
    assert POINTS > 50
