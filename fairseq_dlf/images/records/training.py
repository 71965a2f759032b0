"""What runs leave behind: records of students, the log of a teacher, Φ along a student's run."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from fairseq_dlf.core.support.replacement import replacing

RECORD_NAME = "record.json"


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


class Run(NamedTuple):
    """A folder of trained students: its name, and their records by seed."""

    name: str
    folder: Path
    records: tuple[RunRecord, ...]


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
        found["curve"] = tuple(checked_row(EpochFigures, row, path) for row in found["curve"])
        found["test_wrong"] = tuple(found["test_wrong"])
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no record of a training, or is damaged ({error!r}): train again") from error
    record: RunRecord = checked_row(RunRecord, found, path)
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


def _require_one_setting(folder: Path, records: Sequence[RunRecord]) -> None:
    found = {record.signature.replace(f"|seed:{record.seed}|", "|") for record in records}
    if len(found) > 1:
        first, second, *_ = sorted(found)
        raise ValueError(
            f"the seeds of {folder} were trained with different settings ({first}; {second}), so that their mean says "
            "nothing: move them to folders of their own"
        )


def checked_row(kind: Any, found: Mapping[str, Any], path: Path) -> Any:
    names = {field.name for field in fields(kind)}
    if set(found) != names:
        raise ValueError(
            f"{path} has other fields than a {kind.__name__} of this version (missing: "
            f"{sorted(names - set(found))}, unknown: {sorted(set(found) - names)}): make it again"
        )
    return kind(**found)
