"""The report: what stands in it, and its files."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from torch import Tensor

from fairseq_dlf.core.files.replacement import replacing
from fairseq_dlf.core.teaching.forms.binned import Binned
from fairseq_dlf.figures import write_figures
from fairseq_dlf.translation.reports.agreement import agreements
from fairseq_dlf.translation.reports.curve_figures import students_figure, teachers_figure
from fairseq_dlf.translation.reports.curves import BLEU, System
from fairseq_dlf.translation.reports.layout import BIN, TYPE, Part, bins_in_words, layout_of
from fairseq_dlf.translation.reports.movement import LEAST_SHARE, movement_of
from fairseq_dlf.translation.reports.page import Block, Page, Picture, Section, Table, Text, to_html, to_markdown
from fairseq_dlf.translation.reports.taught import TaughtTeacher
from fairseq_dlf.translation.reports.teacher_figures import (
    agreement_figure,
    bins_figure,
    frequency_figure,
    movement_figure,
    weights_figure,
    words_figure,
)
from fairseq_dlf.translation.reports.vocabulary import Vocabulary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKDOWN_NAME, HTML_NAME = "report.md", "report.html"
TITLE = "What the teacher has learnt"
CURVES_TITLE = "Training curves"
# Without chosen words, those that move most in each direction.
WORDS_EACH_WAY = 3


@dataclass(frozen=True)
class TaughtTeachers:
    """TaughtTeachers of one data-bin, and what of them is shown.

    Attributes:
        read: at least one.
        vocabulary: of the data-bin.
        bleu: from which and to which BLEU a student is assumed to go along the run, in points.
        words: types whose coefficients are drawn; None takes those that move most.
        top: how many words with the lowest and the highest coefficients are listed.
    """

    read: Sequence[TaughtTeacher]
    vocabulary: Vocabulary
    bleu: tuple[float, float]
    words: Optional[Sequence[int]] = None
    top: int = 20


class _Figures:
    """Figures as they are drawn, each under a name that no other has."""

    def __init__(self) -> None:
        self.drawn: dict[str, Figure] = {}

    def add(self, name: str, label: str, figure: "Figure", caption: str) -> Picture:
        """Keep a figure; return the block that shows it.

        Args:
            name: of the figure.
            label: of what it is of, which is added to the name; '' adds nothing.
        """
        stem = "-".join(filter(None, [name, re.sub(r"[^\w.+-]+", "-", label).strip("-")]))
        while stem in self.drawn:
            stem += "-"
        self.drawn[stem] = figure
        return Picture(stem, caption)


def write_report(
    out: Path, formats: Sequence[str], teachers: Optional[TaughtTeachers] = None, systems: Sequence[System] = ()
) -> Page:
    """Write a report of teachers and of training curves: Markdown, figures, and one HTML page with all of it.

    Args:
        out: folder of the report, which is made if it is missing.
        formats: of the figures, PNG among them.

    Raises:
        InputError: the folder cannot be made.
    """
    figures = _Figures()
    sections = list(_teacher_sections(teachers, figures)) if teachers is not None else []
    if systems:
        sections.append(_curves_section(systems, figures))
    page = Page(TITLE if teachers is not None else CURVES_TITLE, sections)
    write_figures(figures.drawn.items(), out, formats)
    for name, text in ((MARKDOWN_NAME, to_markdown(page)), (HTML_NAME, to_html(page, out))):
        with replacing(out / name) as partial:
            partial.write_text(text, encoding="utf-8")
    return page


# Teachers -------------------------------------------------------------------------


def _teacher_sections(teachers: TaughtTeachers, figures: _Figures) -> Iterator[Section]:
    yield Section("Summary", _summary(teachers, figures))
    for teacher in teachers.read:
        yield Section(f"Teacher {teacher.label}", list(_of_teacher(teacher, teachers, figures)))
    if len(teachers.read) > 1:
        yield Section("Agreement", list(_agreement(teachers, figures)))


def _summary(teachers: TaughtTeachers, figures: _Figures) -> list[Block]:
    head = ("teacher", "kind", "form", "of", "coefficients", "mean", "sd", "from untaught", "moves", "% of size")
    types = len(teachers.vocabulary)
    rows = [_summary_row(each, part) for each in teachers.read for part in layout_of(each.form, types).parts]
    told = (
        "Mean and standard deviation are over the coefficients, averaged over the run. “From untaught” is the root "
        "mean square of their distances from where teaching began; “moves” is the greatest root mean square of "
        "Φ_t − Φ_0 along the run, also in per cent of the size (root mean square) of the coefficients."
    )
    warnings = [Text(_still(teacher), warning=True) for teacher in teachers.read if _is_still(teacher)]
    picture = figures.add("movement", "", movement_figure(teachers.read), "How far Φ moves along the run.")
    return [Table(head, rows), Text(told), Text(_path(teachers)), *warnings, picture]


def _summary_row(teacher: TaughtTeacher, part: Part) -> tuple[str, ...]:
    movement, header, mean = movement_of(teacher.phi[:, part.places]), teacher.file.header, teacher.mean[part.places]
    taught = "–" if teacher.untaught is None else _short(_rms(mean - teacher.untaught[part.places]))
    spread = (f"{float(mean.mean()):.4f}", _short(float(mean.std(correction=0))), taught)
    moves = (_short(movement.farthest), f"{100 * movement.share:.2g}")
    return (teacher.label, header.kind, header.form, part.symbol, f"{len(mean):,}", *spread, *moves)


def _path(teachers: TaughtTeachers) -> str:
    """Say along which path of s_t the teachers are shown."""
    if not any(teacher.reads_progress for teacher in teachers.read):
        return "Φ depends on nothing but t / T, the share of the run that is done: what is shown is what students get."
    low, high = teachers.bleu
    what = (
        "the share of the run that is done, BLEU on train and BLEU on dev go from 0 to 1 together"
        if (low, high) == (0.0, 100.0)
        else f"the share of the run that is done goes from 0 to 1, BLEU on train and on dev from {low:g} to {high:g}"
    )
    return (
        "An assumption: Φ depends on what a student is measured to have reached, which a teacher's file does not tell. "
        f"Here {what}, linearly. A student on another path gets another Φ: --bleu FROM,TO shows it."
    )


def _is_still(teacher: TaughtTeacher) -> bool:
    return teacher.file.header.kind != "static" and movement_of(teacher.phi).still


def _still(teacher: TaughtTeacher) -> str:
    movement = movement_of(teacher.phi)
    return (
        f"The loss of {teacher.label} is static in effect: along the run Φ moves by {_short(movement.farthest)}, "
        f"{100 * movement.share:.2g} % of its size. Less than {100 * LEAST_SHARE:g} % counts as none: it is like a "
        "change of the student's learning rate by as much. --teacher-key-scale 3 and --teacher-kind schedule give "
        "teachers that move more."
    )


def _of_teacher(teacher: TaughtTeacher, teachers: TaughtTeachers, figures: _Figures) -> Iterator[Block]:
    label = teacher.label if len(teachers.read) > 1 else ""
    unit = layout_of(teacher.form, len(teachers.vocabulary)).unit
    if unit == TYPE:
        yield from _words(teacher, teachers, figures, label)
    elif unit == BIN:
        yield from _bins(teacher, teachers.vocabulary, figures, label)
    else:
        yield Text(f"The coefficients of the form {teacher.form.name} belong to no words, and are not listed.")
    if teacher.regularisers:
        yield _weights(teacher)
        yield figures.add("weights", label, weights_figure(teacher), "Weights of regularisers along the run.")
    yield Text(f"Signature: {teacher.file.header.signature}")


def _weights(teacher: TaughtTeacher) -> Table:
    ends = zip(teacher.regularisers, teacher.weights[0].tolist(), teacher.weights[-1].tolist(), strict=True)
    rows = [(each.spec, f"{each.start:.4f}", f"{first:.4f}", f"{last:.4f}") for each, first, last in ends]
    return Table(("regulariser", "before teaching", "at t = 0", "at t = T"), rows, "Weights of regularisers.")


# Coefficients of types --------------------------------------------------------------


def _words(teacher: TaughtTeacher, teachers: TaughtTeachers, figures: _Figures, label: str) -> Iterator[Block]:
    vocabulary = teachers.vocabulary
    for part in layout_of(teacher.form, len(vocabulary)).parts:
        for lowest in (True, False):
            yield _extremes(teacher, vocabulary, part, teachers.top, lowest)
    yield figures.add(
        "frequency", label, frequency_figure(teacher, vocabulary), "Coefficients, averaged over the run, by frequency."
    )
    places = teachers.words if teachers.words is not None else _movers(teacher, vocabulary)
    which = "Coefficients of chosen words" if teachers.words is not None else "Coefficients of the words that move most"
    caption = f"{which} along the run; below, their moves."
    yield figures.add("words", label, words_figure(teacher, vocabulary, places), caption)


def _extremes(teacher: TaughtTeacher, vocabulary: Vocabulary, part: Part, top: int, lowest: bool) -> Table:
    """Return the words with the lowest or the highest coefficients of a part, the most extreme first."""
    phi = teacher.phi[:, part.places]
    means = phi.mean(dim=0)
    order = _ordered(means if lowest else -means, vocabulary)[:top]
    rows = [
        (vocabulary.word(place), vocabulary.frequency(place), *(f"{float(value):.4f}" for value in values))
        for place, values in ((place, (means[place], phi[0, place], phi[-1, place])) for place in order)
    ]
    head = ("word", "frequency in train", f"{part.symbol}, mean", "at t = 0", "at t = T")
    which = "Lowest" if lowest else "Highest"
    return Table(head, rows, f"{which} coefficients {part.symbol} ({part.meaning}).")


def _movers(teacher: TaughtTeacher, vocabulary: Vocabulary) -> list[int]:
    """Return the types whose first coefficients fall and rise most along the run."""
    moves = teacher.moves[layout_of(teacher.form, len(vocabulary)).parts[0].places]
    order = _ordered(moves, vocabulary)
    return list(dict.fromkeys([*order[:WORDS_EACH_WAY], *order[-WORDS_EACH_WAY:]]))


def _ordered(values: Tensor, vocabulary: Vocabulary) -> list[int]:
    """Return the types that occur, those with the lowest value first."""
    places = vocabulary.occurs.nonzero().flatten()
    order: list[int] = places[values[places].argsort(stable=True)].tolist()
    return order


# Coefficients of bins ----------------------------------------------------------------


def _bins(teacher: TaughtTeacher, vocabulary: Vocabulary, figures: _Figures, label: str) -> Iterator[Block]:
    assert isinstance(teacher.form, Binned)
    bins, parts = bins_in_words(teacher.form, vocabulary), layout_of(teacher.form, len(vocabulary)).parts
    columns = [phi[[0, -1]] for phi in (teacher.phi[:, part.places] for part in parts)]
    head = ["bin", "types", "% of tokens", "most frequent", *(f"{p.symbol} at t = {t}" for p in parts for t in "0T")]
    rows = [
        (
            *(each.name, f"{each.types:,}", f"{100 * each.share:.1f}" if each.share else "–", " ".join(each.examples)),
            *(f"{float(value):.4f}" for column in columns for value in column[:, number]),
        )
        for number, each in enumerate(bins)
    ]
    meanings = ", ".join(f"{part.symbol} is the {part.meaning}" for part in parts)
    yield Table(head, rows, f"Bins of types, from frequent to rare; {meanings}.")
    caption = "Coefficients of each bin along the run; below, their moves."
    yield figures.add("bins", label, bins_figure(teacher, vocabulary, bins), caption)


# Agreement ---------------------------------------------------------------------------


def _agreement(teachers: TaughtTeachers, figures: _Figures) -> Iterator[Block]:
    found = agreements(teachers.read, teachers.vocabulary)
    figure = agreement_figure(teachers.read, teachers.vocabulary)
    if not found:
        yield Text("No two of these teachers have coefficients of the same meaning.")
        return
    head = ("teachers", "of", "coefficients", "r of Φ", "r of the moves", "by chance")
    rows = [
        (
            *(f"{each.first}, {each.second}", each.symbol, f"{each.coefficients:,}"),
            *("–" if value is None else f"{value:.3f}" for value in (each.means, each.moves)),
            f"{each.chance:.3f}",
        )
        for each in found
    ]
    yield Table(head, rows, "Correlation over coefficients.")
    yield Text(
        "r of Φ is of the coefficients averaged over the run, r of the moves of Φ_T − Φ_0; – stands where a teacher's "
        "coefficients are all alike, or fewer than three. Unrelated coefficients would have a larger r than “by "
        "chance”, of either sign, in about one of twenty cases."
    )
    if figure is not None:
        caption = "Coefficients of the first teacher and of others, averaged over the run; dotted, equal ones."
        yield figures.add("agreement", "", figure, caption)


# Curves ------------------------------------------------------------------------------


def _curves_section(systems: Sequence[System], figures: _Figures) -> Section:
    blocks: list[Block] = [_curves_table(systems)]
    students = [system for system in systems if not system.of_teacher]
    of_teachers = [system for system in systems if system.of_teacher]
    seeds = " Lines are means over seeds, bands their range." if any(len(each.curves) > 1 for each in systems) else ""
    if students:
        caption = f"BLEU on dev of students.{seeds}"
        blocks.append(figures.add("curves-students", "", students_figure(students), caption))
    if of_teachers:
        caption = f"BLEU on dev of a student that the teacher has taught in a fixed episode.{seeds}"
        blocks.append(figures.add("curves-teachers", "", teachers_figure(of_teachers), caption))
    blocks.append(
        Text("A teacher learns from dev: BLEU there flatters it and the students that it has taught. Compare on test.")
    )
    return Section(CURVES_TITLE, blocks)


def _curves_table(systems: Sequence[System]) -> Table:
    rows = []
    for system in systems:
        for number, curve in enumerate(system.curves, start=1):
            name = system.label if len(system.curves) == 1 else f"{system.label}, {number} of {len(system.curves)}"
            bleu = curve.points(BLEU)
            last, (at, best) = max(bleu), curve.best
            what = "teacher" if curve.of_teacher else "student"
            rows.append((name, what, f"{best:.2f}", f"{at:,}", f"{bleu[last]:.2f}", f"{last:,}"))
    return Table(("run", "of a", "best BLEU on dev", "after updates", "last", "after updates"), rows)


def _short(value: float) -> str:
    return f"{value:.2g}"


def _rms(values: Tensor) -> float:
    return float(values.double().square().mean().sqrt())
