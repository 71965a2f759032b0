"""What runs leave behind: records of students, the log of a teacher, Φ along a student's run."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from fairseq_dlf.core.file_replacement import replacing
from fairseq_dlf.core.tensor_file import read_tensor_file, write_tensor_file

RECORD_NAME, LOG_NAME, PATH_NAME = "record.json", "teaching.jsonl", "coefficients.safetensors"


@dataclass(frozen=True)
class EpochFigures:
    """A row of a training curve.

    Attributes:
        epoch: number of the epoch, from 1.
        updates: updates done after it.
        train_loss: mean of what the student minimised, over the epoch.
        train_accuracy: on a fixed part of train, in [0, 1].
        dev_accuracy: on all of dev, in [0, 1].
        learning_rate: at the epoch's start.
    """

    epoch: int
    updates: int
    train_loss: float
    train_accuracy: float
    dev_accuracy: float
    learning_rate: float


@dataclass(frozen=True)
class RunRecord:
    """One finished training.

    Attributes:
        signature: all that changes the student.
        data, model, loss: names.
        teacher: signature of the teacher; None without one.
        taught_on: model that the teacher was taught on.
        seed: of weights, batches and augmentation.
        learning_rate: at the start.
        epochs: length of the run.
        parameters: number of the student's.
        curve: a row for each epoch.
        best_epoch: the one with the greatest dev accuracy, whose student was tested.
        dev_error, test_error: per cent, of that student.
        test_images: number of test images.
        test_wrong: places of the test images that were classified wrongly, ascending.
        elapsed_s: seconds of the updates.
        version: of this package.
    """

    signature: str
    data: str
    model: str
    loss: str
    teacher: str | None
    taught_on: str | None
    seed: int
    learning_rate: float
    epochs: int
    parameters: int
    curve: tuple[EpochFigures, ...]
    best_epoch: int
    dev_error: float
    test_error: float
    test_images: int
    test_wrong: tuple[int, ...]
    elapsed_s: float
    version: str


@dataclass(frozen=True)
class TeacherStep:
    """A line of a teacher's log; step 0 is the untaught teacher.

    Attributes:
        step: number of the teacher step.
        measure_before, measure_after: expected dev accuracy of the episode's student, in [0, 1].
        student_loss: mean over the episode's updates.
        dev_accuracy: of the validation's students after this step, in [0, 1]; None where θ was not validated.
        gradient_norm: ‖∂M̃/∂θ‖.
        dtheta_norm: ‖θ' − θ‖ of the update.
        dphi_norm: ‖∂M̃/∂Φ‖ over all updates of the episode.
        leverage: ‖Σ_t ∂M̃/∂Φ_t‖₁, of a measure in [0, 1].
        cotangent_growth: ‖∂M̃/∂ω‖ at the horizon over that at the end of the episode.
        collapsed: whether the episode was discarded.
        elapsed_s: seconds of the step, validation included.
    """

    step: int
    measure_before: float | None
    measure_after: float | None
    student_loss: float | None
    dev_accuracy: float | None
    gradient_norm: float
    dtheta_norm: float
    dphi_norm: float
    leverage: float
    cotangent_growth: float
    collapsed: bool
    elapsed_s: float


class Run(NamedTuple):
    """A folder of trained students: its name, and their records by seed."""

    name: str
    folder: Path
    records: tuple[RunRecord, ...]


@dataclass(frozen=True)
class CoefficientPath:
    """Φ along a student's run.

    Attributes:
        coefficients: (points, classes, classes), float32; row y belongs to images of class y.
        epochs: when, (points,), float32.
        class_names: in order.
        data, model: names.
    """

    coefficients: Tensor
    epochs: Tensor
    class_names: tuple[str, ...]
    data: str
    model: str


def write_record(path: Path, record: RunRecord) -> None:
    """Writes a record as JSON; a failure leaves no half-written file behind."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(asdict(record), indent=1) + "\n", encoding="utf-8")


def read_record(path: Path) -> RunRecord:
    """Reads what `write_record` wrote.

    Raises:
        ValueError: the file is damaged, or of another kind.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        found["curve"] = tuple(_row(EpochFigures, row, path) for row in found["curve"])
        found["test_wrong"] = tuple(found["test_wrong"])
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no record of a training, or is damaged ({error!r}): train again") from error
    record: RunRecord = _row(RunRecord, found, path)
    return record


def find_runs(folders: Sequence[Path]) -> list[Run]:
    """The trainings of --out folders, each with its seeds in order.

    Raises:
        ValueError: a folder is not there, holds no finished training, or trainings that
            differ in more than their seeds.
    """
    runs = []
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"there is no folder {folder}: pass --out folders of `train`")
        records = sorted(map(read_record, run_files(folder, RECORD_NAME)), key=lambda record: record.seed)
        if not records:
            raise ValueError(f"{folder} holds no finished training (seed*/{RECORD_NAME}): run `train` to its end")
        _require_one_setting(folder, records)
        runs.append(Run(folder.resolve().name, folder, tuple(records)))
    return runs


def run_files(folder: Path, name: str) -> list[Path]:
    """A folder's own file of that name, or else its seeds' files, in the order of their seeds."""
    if (folder / name).is_file():
        return [folder / name]
    return sorted(folder.glob(f"seed*/{name}"), key=lambda path: (len(path.parent.name), path.parent.name))


def append_step(path: Path, step: TeacherStep) -> None:
    """Adds a line to a teacher's log."""
    with path.open("a", encoding="utf-8") as log:
        log.write(json.dumps(asdict(step)) + "\n")


def read_steps(path: Path) -> list[TeacherStep]:
    """The lines of a teacher's log; a last one that a crash has torn is left out.

    Raises:
        ValueError: another line is damaged.
    """
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    steps = []
    for number, line in enumerate(lines, start=1):
        try:
            steps.append(_row(TeacherStep, json.loads(line), path))
        except (json.JSONDecodeError, TypeError) as error:
            if number == len(lines) and not line.endswith("\n"):
                break
            raise ValueError(f"{path} is damaged at line {number} ({error}): remove the line") from error
    return steps


def write_coefficients(path: Path, found: CoefficientPath) -> None:
    """Writes Φ along a run as safetensors."""
    header = {"class_names": found.class_names, "data": found.data, "model": found.model}
    write_tensor_file(path, "coefficients", {"coefficients": found.coefficients, "epochs": found.epochs}, header)


def read_coefficients(path: Path) -> CoefficientPath:
    """Reads what `write_coefficients` wrote.

    Raises:
        ValueError: the file is damaged, or of another kind.
    """
    tensors, header = read_tensor_file(path, "coefficients")
    try:
        return CoefficientPath(
            tensors["coefficients"], tensors["epochs"], tuple(header["class_names"]), header["data"], header["model"]
        )
    except KeyError as error:
        raise ValueError(f"{path} lacks {error}, which Φ along a run needs: train or teach again") from error


def _require_one_setting(folder: Path, records: Sequence[RunRecord]) -> None:
    found = {record.signature.replace(f"|seed:{record.seed}|", "|") for record in records}
    if len(found) > 1:
        first, second, *_ = sorted(found)
        raise ValueError(
            f"the seeds of {folder} were trained with different settings ({first}; {second}), so that their mean says "
            "nothing: move them to folders of their own"
        )


def _row(kind: Any, found: Mapping[str, Any], path: Path) -> Any:
    names = {field.name for field in fields(kind)}
    if set(found) != names:
        raise ValueError(
            f"{path} has other fields than a {kind.__name__} of this version (missing: "
            f"{sorted(names - set(found))}, unknown: {sorted(set(found) - names)}): make it again"
        )
    return kind(**found)
