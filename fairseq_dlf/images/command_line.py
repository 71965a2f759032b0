"""Command line of image classification: teach, train, table, plot."""

import argparse
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fairseq_dlf.command_line import option_names, run_command
from fairseq_dlf.core.support.allocation import keep_freed_memory
from fairseq_dlf.core.support.errors import InputError, UserError
from fairseq_dlf.core.support.outputs import require_writable
from fairseq_dlf.core.support.replacement import replacing
from fairseq_dlf.core.support.run_folder import only_run_in
from fairseq_dlf.images.data.splits import ImageData, load_image_data
from fairseq_dlf.images.losses.registry import LOSSES, parse_options
from fairseq_dlf.images.records.training import find_runs
from fairseq_dlf.images.reports.plots import plot
from fairseq_dlf.images.reports.table import markdown, table, to_json
from fairseq_dlf.images.students.files import read_student
from fairseq_dlf.images.students.settings import StudentSettings, chosen_device, paper_settings, use_threads
from fairseq_dlf.images.teachers.files import read_teacher
from fairseq_dlf.images.teachers.settings import TeachingSettings
from fairseq_dlf.images.teachers.teaching import Teaching
from fairseq_dlf.images.training import TrainingSettings, train_seeds

PROGRAM = "python -m fairseq_dlf.images"
# Options of settings that the code names otherwise.
_OTHER_NAMES = {"learning_rate": "--lr", "truncation": "--truncate", "teacher_rate": "--teacher-lr"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s | %(message)s", datefmt="%H:%M:%S", force=True)
    stopped = "stopped; the same command goes on from the last saved state"
    names = option_names(parser) | _OTHER_NAMES
    return run_command(f"{PROGRAM} {options.command}", lambda: options.run(options), names, stopped)


@contextmanager
def _teacher_errors() -> Iterator[None]:
    """Take what images/teachers raises for mistakes of the user, Python's own errors as yet."""
    try:
        yield
    except UserError:
        raise
    except (ValueError, FileNotFoundError, RuntimeError) as error:
        raise InputError(str(error)) from error


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for add in (_add_teach, _add_train, _add_table, _add_plot):
        add(commands)
    return parser


# The commands ---------------------------------------------------------------------


@_teacher_errors()
def _teach(options: argparse.Namespace) -> None:
    data = _data(options)
    student = _student_settings(options, data.name)
    settings = TeachingSettings(
        teacher_steps=options.teacher_steps,
        teacher_rate=options.teacher_lr,
        keys=options.keys,
        key_scale=options.key_scale,
        phi_start=options.phi_start,
        ce_share=options.ce_share,
        truncation=options.truncate,
        trajectory_memory=options.trajectory_memory,
        cotangent_clip=options.clip_cotangent,
        collapse_share=options.collapse_share,
        growth_limit=options.growth_limit,
        measure_images=options.measure_images,
        measure_share=options.measure_share,
        sharpness=options.sharpness,
        validate_every=options.validate_every,
        validation_students=options.validation_students,
        diagonal=options.phi_diagonal,
        off_diagonal=options.phi_off_diagonal,
        seed=options.seed,
    )
    warm = None if options.student is None else read_student(options.student)
    with only_run_in(options.out):
        Teaching(data, student, settings, options.out, warm).run()


def _train(options: argparse.Namespace) -> None:
    data = _data(options)
    with _teacher_errors():
        teacher = None if options.teacher is None else read_teacher(options.teacher, data)
    loss_options = parse_options(options.loss_options)
    if teacher is not None and "ce_share" not in loss_options:
        loss_options["ce_share"] = teacher.header.ce_share
    rates = options.lr or [paper_settings(data.name, options.model)["learning_rate"]]
    settings = TrainingSettings(
        _student_settings(options, data.name, rates[0]),
        options.loss,
        loss_options,
        teacher,
        None if options.student is None else read_student(options.student),
    )
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    with only_run_in(options.out):
        train_seeds(data, settings, rates, seeds, options.out)


def _table(options: argparse.Namespace) -> None:
    if options.json is not None:
        require_writable(options.json, "json")
    made = table(find_runs(options.runs), options.baseline)
    print(markdown(made))
    if options.json is not None:
        with replacing(options.json) as partial:
            partial.write_text(to_json(made) + "\n", encoding="utf-8")


def _plot(options: argparse.Namespace) -> None:
    for path in plot(options.folders, options.out, options.classes, options.epochs):
        print(path)


# What options ask for ------------------------------------------------------------


def _data(options: argparse.Namespace) -> ImageData:
    device = chosen_device(options.device)
    if options.threads is not None:
        use_threads(options.threads)
    if device.type == "cpu":
        keep_freed_memory()
    return load_image_data(options.data, options.split_seed, options.train_images, options.download).to(device)


def _student_settings(options: argparse.Namespace, data: str, rate: float | None = None) -> StudentSettings:
    given = {
        "batch_size": options.batch_size,
        "learning_rate": options.lr if rate is None else rate,
        "momentum": options.momentum,
        "weight_decay": options.weight_decay,
        "epochs": options.epochs,
        "milestones": options.milestones,
        "progress_points": options.progress_points,
        "progress_images": options.progress_images,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    return StudentSettings(options.model, **{**paper_settings(data, options.model), **chosen})


# Parsers ---------------------------------------------------------------------------


def _add_teach(commands) -> None:  # type: ignore[no-untyped-def]
    parser = _command(commands, "teach", _teach, "learn a teacher's parameters from episodes of student training")
    _add_run_options(parser)
    parser.add_argument("--lr", type=_number, help="the student's learning rate (default: the paper's for the data)")
    parser.add_argument("--seed", type=int, default=1, help="of everything drawn (default: 1)")
    group = parser.add_argument_group("teacher")
    group.add_argument("--teacher-steps", type=_count, default=60, help="episodes, each one update (default: 60)")
    group.add_argument("--teacher-lr", type=_number, default=1e-4, help="Adam's rate on θ (default: 1e-4, the paper's)")
    group.add_argument("--keys", type=_count, default=10, help="N; 1 gives a Φ that ignores s (default: 10)")
    group.add_argument("--key-scale", type=_number, default=0.1, help="standard deviation of V at first (default: 0.1)")
    group.add_argument(
        "--phi-start", type=_number, default=1.0, help="Φ is this times the identity at first (default: 1)"
    )
    group.add_argument("--ce-share", type=float, default=0.0, help="share of cross-entropy in the loss (default: 0)")
    group.add_argument("--phi-diagonal", type=_pair, metavar="LOW,HIGH", help="bounds on Φ's diagonal (default: none)")
    group.add_argument("--phi-off-diagonal", type=_pair, metavar="LOW,HIGH", help="bounds on the rest (default: none)")
    group.add_argument("--student", type=Path, metavar="FILE", help="start of every episode (default: fresh weights)")
    group.add_argument("--truncate", type=int, default=0, help="K, go back through the last K updates; 0 is all")
    group.add_argument(
        "--trajectory-memory", default="512MiB", metavar="SIZE", help="for kept students (default: 512MiB)"
    )
    group.add_argument("--clip-cotangent", type=float, default=0.0, help="bound on |∂M/∂ω| on its way; 0 is none")
    group.add_argument(
        "--collapse-share",
        type=float,
        default=0.9,
        help="an episode under this share of the best is discarded (default: 0.9)",
    )
    group.add_argument(
        "--growth-limit", type=_number, default=1e3, help="so is one whose cotangent grows beyond it (default: 1000)"
    )
    group.add_argument("--measure-images", type=int, default=0, help="dev images of the measure; 0 is all")
    group.add_argument(
        "--measure-share",
        type=_number,
        default=1.0,
        help="share of dev for the measure; the rest chooses the best teacher (default: 1, all for both, as the paper)",
    )
    group.add_argument(
        "--sharpness",
        type=_number,
        default=1.0,
        help="of the measure; the more, the closer to accuracy (default: 1, the paper's mean p(y))",
    )
    group.add_argument(
        "--validate-every", type=_count, default=5, help="teacher steps between validations (default: 5)"
    )
    group.add_argument("--validation-students", type=_count, default=1, help="students of a validation (default: 1)")


def _add_train(commands) -> None:  # type: ignore[no-untyped-def]
    parser = _command(commands, "train", _train, "train students and read test once")
    _add_run_options(parser)
    listed = "; ".join(f"{name}: {family.help}" for name, family in LOSSES.items())
    parser.add_argument("--loss", choices=list(LOSSES), default="cross_entropy", help=listed.replace("%", "%%"))
    parser.add_argument("--loss-options", default="", metavar="NAME=VALUE,…", help="options of the loss")
    parser.add_argument("--teacher", type=Path, metavar="FILE", help="the teacher.safetensors of `teach`, for dlf")
    parser.add_argument("--student", type=Path, metavar="FILE", help="best.safetensors to start from (default: fresh)")
    parser.add_argument("--seeds", type=_count, default=1, help="students to train, each with its seed (default: 1)")
    parser.add_argument("--first-seed", type=int, default=1, help="seed of the first (default: 1)")
    parser.add_argument(
        "--lr",
        type=_numbers,
        metavar="RATE[,RATE…]",
        help="learning rate (default: the paper's for the data); of several the first seed's best by dev is taken",
    )


def _add_table(commands) -> None:  # type: ignore[no-untyped-def]
    parser = _command(commands, "table", _table, "error rates with tests against cross-entropy, as Markdown")
    parser.add_argument("runs", nargs="+", type=Path, help="--out folders of `train`")
    parser.add_argument("--baseline", metavar="NAME", help="folder to compare with (default: the one of cross_entropy)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures there")


def _add_plot(commands) -> None:  # type: ignore[no-untyped-def]
    parser = _command(commands, "plot", _plot, "the paper's Figures 3 and 4, and training curves, as PNG and PDF")
    parser.add_argument("folders", nargs="+", type=Path, help="--out folders of `teach` and `train`")
    parser.add_argument("--out", type=Path, default=Path("plots"), help="folder of the plots (default: plots)")
    parser.add_argument("--classes", type=_counts, metavar="N[,N…]", help="rows of Φ to show (default: all)")
    parser.add_argument("--epochs", type=_numbers, metavar="E[,E…]", help="epochs of Φ (default: start, middle, end)")


def _command(commands, name: str, run, text: str) -> argparse.ArgumentParser:  # type: ignore[no-untyped-def]
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run)
    return parser


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    """What teaching and training have in common: data, the student, the machine."""
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; the same command again goes on")
    parser.add_argument(
        "--data",
        default="digits",
        metavar="KIND[:DIR]",
        help="digits, mnist:DIR, cifar10:DIR, cifar100:DIR, folder:DIR",
    )
    parser.add_argument("--download", action="store_true", help="fetch what is missing in DIR, with a checksum")
    parser.add_argument("--split-seed", type=int, default=0, help="of the split into train and dev (default: 0)")
    parser.add_argument("--train-images", type=int, default=0, help="first images of train to use; 0 is all")
    parser.add_argument(
        "--model", default="mlp", help="mlp[-H], lenet, resnet-N, wrn-DEPTH-WIDTH, densenet-DEPTH-GROWTH"
    )
    group = parser.add_argument_group("student", "where no default is given, it is the paper's for the data")
    group.add_argument("--batch-size", type=_count, help="images of an update")
    group.add_argument("--epochs", type=_number, help="length of the run")
    group.add_argument("--momentum", type=float, help="of SGD (default: 0.9)")
    group.add_argument("--weight-decay", type=float, help="added to the gradient")
    group.add_argument(
        "--milestones", type=_numbers, metavar="S,…", help="shares of the run that divide the rate by 10"
    )
    group.add_argument("--progress-points", type=_count, help="measurements of s_t in a run (default: 20)")
    group.add_argument("--progress-images", type=int, help="images of each, of train and of dev (default: 1000)")
    group = parser.add_argument_group("machine")
    group.add_argument("--device", help="cpu, cuda, cuda:1 (default: a GPU where there is one)")
    group.add_argument("--threads", type=_count, help="threads on the CPU (default: torch's)")


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"got {number}, wanted 1 or more")
    return number


def _counts(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted whole numbers such as 0,3,8") from None


def _number(text: str) -> float:
    number = float(text)
    if not 0.0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"got {text}, wanted a positive number")
    return number


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted numbers such as 0.1,0.3") from None


def _pair(text: str) -> tuple[float, float]:
    numbers = _numbers(text)
    if len(numbers) != 2 or not numbers[0] <= numbers[1]:
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted LOW,HIGH such as 0,1 (inf is no bound)")
    return numbers[0], numbers[1]
