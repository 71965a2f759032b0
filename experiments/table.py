"""What a table declares: architectures in rows, losses in columns, and the settings that each loss tries."""

from collections.abc import Iterable
from dataclasses import dataclass

from fairseq_dlf.core.support.errors import InputError

Value = float | str
Options = tuple[str, ...]


@dataclass(frozen=True)
class Setting:
    """One choice of the options that are tuned, such as lr 0.3.

    Attributes:
        values: by axis; an axis `label_smoothing` is the option `--label-smoothing`. An option without a value
            is 'on' or 'off'.
    """

    values: tuple[tuple[str, Value], ...]

    @property
    def name(self) -> str:
        """Return the name of its folder and record: 'label-smoothing-0.1_lr-1'."""
        return "_".join(f"{_hyphened(axis)}-{_worded(value)}" for axis, value in self.values)

    @property
    def title(self) -> str:
        """Return it in words: 'label smoothing 0.1, lr 1'."""
        return ", ".join(f"{axis.replace('_', ' ')} {_worded(value)}" for axis, value in self.values)

    @property
    def options(self) -> Options:
        """Return it as options of fairseq-train."""
        given = ((f"--{_hyphened(axis)}", value) for axis, value in self.values if value != "off")
        return tuple(word for name, value in given for word in ((name,) if value == "on" else (name, _worded(value))))


def at(**values: Value) -> Setting:
    """Return the setting with these values by axis: `at(label_smoothing=0.1, lr=1)`."""
    return Setting(tuple(values.items()))


@dataclass(frozen=True)
class Column:
    """A loss.

    Attributes:
        name: of its folders and records.
        title: in the report.
        options: of fairseq-train; TEACHER stands for the folder of the seed's teacher.
        settings: what is tried; the first is the default, which runs before any other.
        warm: options of a warm start of its own, after those of the row; none if it takes the row's.
        teacher: options of a teacher of its own, after those of the table; none if it takes the table's.
        instead: options that replace some of the table's options of students.
        once: whether only the first seed of the first row is trained with it.
    """

    name: str
    title: str
    options: Options
    settings: tuple[Setting, ...]
    warm: Options = ()
    teacher: Options = ()
    instead: Options = ()
    once: bool = False

    @property
    def needs_teacher(self) -> bool:
        """Whether a teacher of the same row and seed must be there."""
        return any(word.startswith("TEACHER") for word in self.options)


@dataclass(frozen=True)
class Row:
    """An architecture.

    Attributes:
        name: of its folders and records.
        title: in the report.
        seeds: of training, each with its own warm start and teacher.
        warm: options of the warm start.
        sizes: options of the architecture.
        architecture: its name in fairseq, by default the row's.
    """

    name: str
    title: str
    seeds: tuple[int, ...]
    warm: Options
    sizes: Options = ()
    architecture: str = ""

    @property
    def arch(self) -> Options:
        """Return the options that name the architecture."""
        return ("--arch", self.architecture or self.name, *self.sizes)


@dataclass(frozen=True)
class Table:
    """A table of trainings; all options are those of the command that they are for.

    Attributes:
        name: of its folder of records.
        title: of the report.
        prepare: what follows `dlf-prepare`, but for the folders.
        rows: the first row's first seed tunes the settings for all.
        columns: the losses.
        baselines: names of the columns that all others are tested against.
        training: options of every `fairseq-train`.
        validation: options of all but teachers: how dev is measured.
        student: options of every student.
        teacher: options of every teacher.
        decoding: options of `fairseq-generate`, but for the beam.
        fresh: whether students start from new weights; a warm start then only shows teachers the architecture.
        beam: on test.
        last: how many of a student's last checkpoints are averaged.
        language: what the output is detokenised for.
    """

    name: str
    title: str
    prepare: Options
    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    baselines: tuple[str, ...]
    training: Options
    validation: Options
    student: Options
    teacher: Options
    decoding: Options
    fresh: bool = False
    beam: int = 5
    last: int = 3
    language: str = "en"

    def __post_init__(self) -> None:
        _require_unique("row", (row.name for row in self.rows))
        _require_unique("column", (column.name for column in self.columns))
        for column in self.columns:
            _require_unique(f"setting of {column.name}", (setting.name for setting in column.settings))
        for name in self.baselines:
            self.column(name)

    def column(self, name: str) -> Column:
        """Return a column by its name.

        Raises:
            InputError: there is none of this name.
        """
        for column in self.columns:
            if column.name == name:
                return column
        known = ", ".join(column.name for column in self.columns)
        raise InputError(f"{self.name} has no column {name!r}: choose from {known}")

    def seeds(self, row: Row, column: Column) -> tuple[int, ...]:
        """Return the seeds of a row that are trained with a column's loss."""
        if not column.once:
            return row.seeds
        return row.seeds[:1] if row == self.rows[0] else ()


def _require_unique(what: str, names: Iterable[str]) -> None:
    listed = list(names)
    if not listed:
        raise InputError(f"the table has no {what}: declare one")
    twice = sorted({name for name in listed if listed.count(name) > 1})
    if twice:
        raise InputError(f"the table has two of the {what} {twice[0]}: rename one")


def _hyphened(axis: str) -> str:
    return axis.replace("_", "-")


def _worded(value: Value) -> str:
    return value if isinstance(value, str) else f"{value:g}"
