"""Command line of students of images: check, teach, adapt, train, table, plot."""

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fairseq_dlf.command_line import (
    add_settings,
    add_version,
    count,
    counts,
    number,
    numbers,
    option_names,
    place,
    run_command,
    settings_of,
    whole,
)
from fairseq_dlf.core.files.outputs import require_writable
from fairseq_dlf.core.files.replacement import replacing
from fairseq_dlf.core.files.run_folder import only_run_in
from fairseq_dlf.core.support.allocation import keep_freed_memory
from fairseq_dlf.core.teaching.loop.collapse import CollapsedError
from fairseq_dlf.figures import COLUMN_WIDTH, FORMATS, KNOWN_FORMATS, TEXT_WIDTH
from fairseq_dlf.images.data.splits import ImageData, load_image_data
from fairseq_dlf.images.losses.registry import Losses
from fairseq_dlf.images.records.training import find_runs
from fairseq_dlf.images.reports.look import Look
from fairseq_dlf.images.reports.plots import plot
from fairseq_dlf.images.reports.table import markdown, table, to_json
from fairseq_dlf.images.students.files import read_student
from fairseq_dlf.images.students.settings import StudentSettings, chosen_device, paper_settings, use_threads
from fairseq_dlf.images.students.tasks import CLASSIFICATION, TASKS
from fairseq_dlf.images.teachers.check import findings
from fairseq_dlf.images.teachers.files import ce_share_of, read_teacher
from fairseq_dlf.images.teachers.school import ImageSchool, teaching_of
from fairseq_dlf.images.teachers.settings import CheckSettings, TeachingSettings
from fairseq_dlf.images.training.adaptation import AdaptationSettings, adaptations
from fairseq_dlf.images.training.seeds import run_seeds
from fairseq_dlf.images.training.settings import TrainingSettings
from fairseq_dlf.images.training.training import trainings

PROGRAM = "python -m fairseq_dlf.images"
# Options of settings that the code names otherwise.
_OTHER_NAMES = {"learning_rate": "--lr", "truncation": "--truncate", "teacher_rate": "--teacher-lr"}
RESUMED = "stopped; the same command goes on from the last saved state"
_WIDTH_HELP = f"inches: {TEXT_WIDTH:g}, the default, is a page's text, {COLUMN_WIDTH:g} a column of two"
# Where lessons collapse again and again.
_STABLER = (
    "Lower --teacher-lr or --lr, bound Φ (--phi-off-diagonal 0,1), raise --ce-share, set --clip-cotangent or --truncate"
)
# Where windows do.
_STEADIER = f"{_STABLER}; with the teacher controller, lower beta or reach, as in --teacher 'controller(beta=0.01)'"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status."""
    _import_named_modules(sys.argv[1:] if arguments is None else arguments)
    parser = build_parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s | %(message)s", datefmt="%H:%M:%S", force=True)
    names = option_names(parser) | _OTHER_NAMES
    return run_command(f"{PROGRAM} {options.command}", lambda: options.run(options), names, options.stopped)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description=__doc__)
    add_version(parser)
    commands = parser.add_subparsers(dest="command", required=True)
    for add in (_add_check, _add_teach, _add_adapt, _add_train, _add_table, _add_plot):
        add(commands)
    return parser


def _import_named_modules(arguments: Sequence[str]) -> None:
    """Import the modules of --import, so that other options can name their losses, forms, teachers, and so on."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    _add_import(parser)
    for name in parser.parse_known_args(arguments)[0].modules:
        importlib.import_module(name)


# The commands ---------------------------------------------------------------------


def _check(options: argparse.Namespace) -> None:
    data = _data(options)
    warm = None if options.student is None else read_student(options.student)
    school = ImageSchool(data, _student_settings(options, data.name), settings_of(TeachingSettings, options), warm)
    for line in findings(school, settings_of(CheckSettings, options)):
        print(line, flush=True)


def _teach(options: argparse.Namespace) -> None:
    data = _data(options)
    settings = settings_of(TeachingSettings, options)
    warm = None if options.student is None else read_student(options.student)
    with only_run_in(options.out):
        try:
            teaching_of(data, _student_settings(options, data.name), settings, options.out, warm).run()
        except CollapsedError as error:
            raise CollapsedError(f"{error}. {_STABLER}") from error


def _adapt(options: argparse.Namespace) -> None:
    data = TASKS.make(options.task).view(_data(options))
    settings = settings_of(TeachingSettings, options)
    warm = None if options.student is None else read_student(options.student)
    rates = _rates(options, data.name)
    students = {rate: _student_settings(options, data.name, rate) for rate in rates}

    def school(rate: float, seed: int) -> ImageSchool:
        return ImageSchool(data, students[rate], replace(settings, seed=seed), warm)

    with only_run_in(options.out):
        try:
            run_seeds(
                adaptations(school, settings_of(AdaptationSettings, options), rates), _seeds(options), options.out
            )
        except CollapsedError as error:
            raise CollapsedError(f"{error}. {_STEADIER}") from error


def _train(options: argparse.Namespace) -> None:
    data = TASKS.make(options.task).view(_data(options))
    teacher = None if options.teacher_file is None else read_teacher(options.teacher_file, data)
    losses = TASKS.make(options.task).losses
    loss, loss_options = options.loss or next(iter(losses)), losses.parse_options(options.loss_options)
    takes_share = loss in losses and "ce_share" in losses.options(loss)
    if teacher is not None and takes_share and "ce_share" not in loss_options:
        loss_options["ce_share"] = ce_share_of(teacher)
    rates = _rates(options, data.name)
    settings = TrainingSettings(
        _student_settings(options, data.name, rates[0]),
        loss,
        loss_options,
        teacher,
        None if options.student is None else read_student(options.student),
        options.task,
    )
    with only_run_in(options.out):
        run_seeds(trainings(data, settings, rates), _seeds(options), options.out)


def _table(options: argparse.Namespace) -> None:
    if options.json is not None:
        require_writable(options.json, "json")
    compared = table(find_runs(options.runs), options.baseline)
    print(markdown(compared))
    if options.json is not None:
        with replacing(options.json) as partial:
            partial.write_text(to_json(compared) + "\n", encoding="utf-8")


def _plot(options: argparse.Namespace) -> None:
    look = Look(options.width, options.titles, options.classes, options.epochs)
    for path in plot(options.folders, options.out, look, options.formats):
        print(path)


# From options to settings ----------------------------------------------------------


def _data(options: argparse.Namespace) -> ImageData:
    device = chosen_device(options.device)
    if options.threads is not None:
        use_threads(options.threads)
    if device.type == "cpu":
        keep_freed_memory()
    return load_image_data(options.data, options.split_seed, options.train_images, options.download).to(device)


def _rates(options: argparse.Namespace, data: str) -> Sequence[float]:
    return options.rates or [paper_settings(data, options.model)["learning_rate"]]


def _seeds(options: argparse.Namespace) -> range:
    return range(options.first_seed, options.first_seed + options.seeds)


def _student_settings(options: argparse.Namespace, data: str, rate: float | None = None) -> StudentSettings:
    paper = paper_settings(data, options.model)
    values = {name: getattr(options, name, None) for name in paper}
    chosen = {name: value if values[name] is None else values[name] for name, value in paper.items()}
    return settings_of(StudentSettings, options, **{**chosen, **({} if rate is None else {"learning_rate": rate})})


# Parsers ---------------------------------------------------------------------------


def _add_check(commands) -> None:  # type: ignore[no-untyped-def]
    parser = _command(
        commands, "check", _check, "tell, from a few short trainings, what `teach` with the same options will meet"
    )
    parser.add_argument("--out", type=place, help="as for `teach`; nothing is written there")
    _add_run_options(parser, without=())
    _add_teacher_options(parser, without=("task",))
    add_settings(parser.add_argument_group("check"), CheckSettings)


def _add_teach(commands) -> None:  # type: ignore[no-untyped-def]
    parser = _command(commands, "teach", _teach, "train a teacher in lessons, each of which trains a student", RESUMED)
    _add_folder(parser)
    _add_run_options(parser, without=())
    _add_teacher_options(parser, without=("task",))


def _add_adapt(commands) -> None:  # type: ignore[no-untyped-def]
    text = "adapt the loss of students, and a teacher with it, while they are trained once"
    parser = _command(commands, "adapt", _adapt, text, RESUMED)
    _add_folder(parser)
    # A window is the interval between two measurements of s_t.
    _add_run_options(parser, without=("progress_points", "learning_rate"))
    _add_teacher_options(parser, without=("teacher_steps", "validation_students", "seed"))
    add_settings(parser.add_argument_group("adaptation"), AdaptationSettings)
    _add_seeds(parser, "runs")


def _add_teacher_options(parser: argparse.ArgumentParser, without: Sequence[str]) -> None:
    group = parser.add_argument_group("teacher")
    add_settings(group, TeachingSettings, without=without)
    group.add_argument("--student", type=place, metavar="FILE", help="start of every lesson (default: fresh weights)")


def _add_train(commands) -> None:  # type: ignore[no-untyped-def]
    parser = _command(commands, "train", _train, "train students and test the best epoch of each once", RESUMED)
    _add_folder(parser)
    _add_run_options(parser, without=("learning_rate",))
    tasks: dict[Losses, list[str]] = {}
    for task in TASKS:
        tasks.setdefault(TASKS.make(task).losses, []).append(task)
    listed = ". ".join(
        f"For {', '.join(names)}: {'; '.join(f'{name}: {losses[name].help}' for name in losses)}"
        for losses, names in tasks.items()
    )
    parser.add_argument("--task", choices=list(TASKS), default=CLASSIFICATION, help="what students are trained for")
    parser.add_argument(
        "--loss",
        choices=[name for losses in tasks for name in losses],
        help=f"{listed} (default: the first)".replace("%", "%%"),
    )
    parser.add_argument("--loss-options", default="", metavar="NAME=VALUE,…", help="options of the loss")
    parser.add_argument(
        "--teacher", dest="teacher_file", type=place, metavar="FILE", help="the teacher.safetensors of `teach`, for dlf"
    )
    parser.add_argument("--student", type=place, metavar="FILE", help="best.safetensors to start from (default: fresh)")
    _add_seeds(parser, "students")


def _add_seeds(parser: argparse.ArgumentParser, what: str) -> None:
    """Add seeds and rates, of which the best on dev is taken."""
    parser.add_argument("--seeds", type=count, default=1, help=f"{what} to train, each with its seed (default: 1)")
    parser.add_argument("--first-seed", type=whole, default=1, help="seed of the first (default: 1)")
    parser.add_argument(
        "--lr",
        dest="rates",
        type=numbers,
        metavar="RATE[,RATE…]",
        help="learning rate (default: the paper's for the data); if several, the one whose first seed is best on dev",
    )


def _add_table(commands) -> None:  # type: ignore[no-untyped-def]
    parser = _command(commands, "table", _table, "compare test errors with those of cross-entropy, as Markdown")
    parser.add_argument("runs", nargs="+", type=place, help="--out folders of `train`")
    parser.add_argument("--baseline", metavar="NAME", help="folder to compare with (default: that of cross_entropy)")
    parser.add_argument("--json", type=place, metavar="FILE", help="file to which all figures are written")


def _add_plot(commands) -> None:  # type: ignore[no-untyped-def]
    parser = _command(commands, "plot", _plot, "draw the paper's Figures 3 and 4, Φ along runs, and training curves")
    parser.add_argument("folders", nargs="+", type=place, help="--out folders of `teach`, `adapt` and `train`")
    parser.add_argument("--out", type=place, default=Path("plots"), help="folder of the plots (default: plots)")
    parser.add_argument("--classes", type=counts, metavar="N[,N…]", help="rows of Φ to show (default: all)")
    parser.add_argument("--epochs", type=numbers, metavar="E[,E…]", help="epochs of Φ to show (default: the start)")
    parser.add_argument(
        "--format",
        dest="formats",
        type=lambda text: text.split(","),
        default=list(FORMATS),
        metavar="FORMAT[,FORMAT…]",
        help=f"{', '.join(KNOWN_FORMATS)} (default: {','.join(FORMATS)})",
    )
    parser.add_argument("--width", type=number, default=TEXT_WIDTH, help=_WIDTH_HELP)
    parser.add_argument("--no-titles", dest="titles", action="store_false", help="leave titles to the caption")


def _command(commands, name: str, run, text: str, stopped: str = "stopped"):  # type: ignore[no-untyped-def]
    """Add a command; `stopped` is its last line after Ctrl-C."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run, stopped=stopped)
    _add_import(parser)
    return parser


def _add_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--import",
        dest="modules",
        action="append",
        default=[],
        metavar="MODULE",
        help="a module of your own that registers a loss, form, teacher, estimator or measure; may be repeated",
    )


def _add_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=place, required=True, help="folder of the run; the same command again continues")


def _add_run_options(parser: argparse.ArgumentParser, without: Sequence[str]) -> None:
    """Add the options that teaching and training have in common: data, the student, the machine."""
    parser.add_argument(
        "--data",
        default="digits",
        metavar="KIND[:DIR]",
        help="digits, mnist:DIR, cifar10:DIR, cifar100:DIR, folder:DIR",
    )
    parser.add_argument("--download", action="store_true", help="fetch missing files into DIR and check them")
    parser.add_argument("--split-seed", type=whole, default=0, help="seed of the split into train and dev (default: 0)")
    parser.add_argument("--train-images", type=whole, default=0, help="use the first N images of train; 0 uses all")
    parser.add_argument("--model", default="mlp", help=StudentSettings.__dataclass_fields__["model"].metadata["help"])
    group = parser.add_argument_group("student", "the defaults are the paper's for the data and the model")
    add_settings(group, StudentSettings, without=("model", *without), optional=True)
    group = parser.add_argument_group("machine")
    group.add_argument("--device", help="cpu, cuda, cuda:1 (default: a GPU if the machine has one)")
    group.add_argument("--threads", type=count, help="threads on the CPU (default: torch's)")
