"""Records of trainings, one for each finished student."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

from fairseq_dlf.core.files.fields import ANY_NUMBER, parse_json, read_dataclass, read_text
from fairseq_dlf.core.files.replacement import replacing
from fairseq_dlf.core.support.checks import require_at_least, require_between, require_positive
from fairseq_dlf.core.support.errors import InputError, MissingFileError
from fairseq_dlf.core.support.signature import Signature
from fairseq_dlf.images.records.signatures import read_signature

RECORD_NAME = "record.json"
# The measure of classification, which records of classification do not name.
ACCURACY = "accuracy"
_AGAIN = "delete it and train again"


@dataclass(frozen=True)
class EpochFigures:
    """A row of a training curve.

    Attributes:
        epoch: number of the epoch, from 1.
        updates: number of updates up to its end.
        train_loss: mean of what the student minimised, over the epoch; not finite where it diverged.
        train_accuracy: on a fixed part of train, in [0, 1]; of other tasks, their measure.
        dev_accuracy: on all of dev, in [0, 1].
        learning_rate: at the epoch's start.
    """

    epoch: int
    updates: int
    train_loss: float = field(metadata=ANY_NUMBER)
    train_accuracy: float
    dev_accuracy: float
    learning_rate: float

    def __post_init__(self) -> None:
        require_positive(epoch=self.epoch, updates=self.updates)
        require_between(0.0, 1.0, train_accuracy=self.train_accuracy, dev_accuracy=self.dev_accuracy)


@dataclass(frozen=True)
class RunRecord:
    """One finished training; figures that contradict one another are refused.

    Attributes:
        signature: all that changes the student.
        data, model, loss: names.
        teacher: signature of the teacher; None without one.
        taught_on: model that the teacher was taught on.
        seed: of weights, batches and augmentation.
        learning_rate: at the start.
        epochs: length of the run.
        parameters: number of the student's parameters.
        curve: one row per epoch.
        best_epoch: the epoch with the greatest dev accuracy, whose student was tested.
        dev_error, test_error: of that student, in per cent: 100 minus the measure.
        test_images: number of test images.
        test_wrong: places of the test images that were classified wrongly, ascending; none with another measure.
        elapsed_s: seconds of the updates.
        version: of this package.
        measure: what `dev_accuracy` and the errors are of.
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
    measure: str = ACCURACY

    def __post_init__(self) -> None:
        require_positive(test_images=self.test_images, parameters=self.parameters, learning_rate=self.learning_rate)
        require_at_least(0, elapsed_s=self.elapsed_s)
        self._require_curve()
        self._require_errors()
        signed = self.parsed_signature
        for name in ("data", "model", "loss", "seed"):
            if signed.get(name) != str(getattr(self, name)):
                raise InputError(f"{name} is {getattr(self, name)}, but the signature's is {signed.get(name, 'none')}")

    @property
    def parsed_signature(self) -> Signature:
        """The signature's fields, named as this version names them."""
        return read_signature(self.signature)

    def _require_curve(self) -> None:
        """Raise InputError unless the curve has a row for each epoch, in order."""
        numbers = [row.epoch for row in self.curve]
        if self.epochs < 1 or numbers != list(range(1, self.epochs + 1)):
            raise InputError(f"the curve has the epochs {numbers[:5]}, but must have 1 to {self.epochs}")
        require_between(1, self.epochs, best_epoch=self.best_epoch)

    def _require_errors(self) -> None:
        """Raise InputError unless the errors agree with the wrongly classified images and with the best epoch."""
        wrong, counted = self.test_wrong, self.measure == ACCURACY
        if not counted:
            require_between(0.0, 100.0, test_error=self.test_error)
        if wrong and not counted:
            raise InputError(f"test_wrong has {len(wrong)} images, but the measure {self.measure} counts none")
        if list(wrong) != sorted(set(wrong)) or (wrong and not 0 <= wrong[0] <= wrong[-1] < self.test_images):
            raise InputError(f"test_wrong must be places of the {self.test_images} test images, ascending, each once")
        best = self.curve[self.best_epoch - 1]
        for name, wanted in (
            ("test_error", 100.0 * len(wrong) / self.test_images if counted else self.test_error),
            ("dev_error", 100.0 * (1.0 - best.dev_accuracy)),
        ):
            if not math.isclose(getattr(self, name), wanted, abs_tol=1e-6):
                raise InputError(f"{name} is {getattr(self, name)}, but its other figures make it {wanted:g}")


class Run(NamedTuple):
    """A folder of trained students: its name, and their records by seed."""

    name: str
    folder: Path
    records: tuple[RunRecord, ...]


def write_record(path: Path, record: RunRecord) -> None:
    """Write a record as JSON; a failure leaves no half-written file behind."""
    fields = asdict(record)
    if record.measure == ACCURACY:
        del fields["measure"]
    with replacing(path) as partial:
        partial.write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")


def read_record(path: Path) -> RunRecord:
    """Read what `write_record` wrote.

    Raises:
        InputError: the file is damaged, or of another kind.
    """
    return read_dataclass(RunRecord, parse_json(read_text(path, _AGAIN), path, _AGAIN), path, _AGAIN)


def find_runs(folders: Sequence[Path]) -> list[Run]:
    """Find the trainings in folders that `train` has written, each with its seeds in order.

    Raises:
        MissingFileError: a folder does not exist.
        InputError: a folder holds no finished training, or trainings that differ in more than their seeds.
    """
    runs = []
    for folder in folders:
        if not folder.is_dir():
            raise MissingFileError(f"there is no folder {folder}: pass folders that `train` has written")
        records = sorted(map(read_record, run_files(folder, RECORD_NAME)), key=lambda record: record.seed)
        if not records:
            raise InputError(f"{folder} holds no finished training (seed*/{RECORD_NAME}): run `train` to its end")
        _require_one_setting(folder, records)
        runs.append(Run(folder.resolve().name, folder, tuple(records)))
    return runs


def run_files(folder: Path, name: str) -> list[Path]:
    """Return the folder's own file of that name or, without one, the files of its seeds, in the order of the seeds."""
    if (folder / name).is_file():
        return [folder / name]
    return sorted(folder.glob(f"seed*/{name}"), key=lambda path: (len(path.parent.name), path.parent.name))


def _require_one_setting(folder: Path, records: Sequence[RunRecord]) -> None:
    seeds = [record.seed for record in records]
    if len(set(seeds)) < len(seeds):
        raise InputError(f"{folder} holds a seed twice ({', '.join(map(str, seeds))}): move one of them elsewhere")
    first, *others = (record.parsed_signature.without("seed") for record in records)
    for other in others:
        if other != first:
            raise InputError(
                f"the seeds of {folder} were trained with different settings ({'; '.join(first.differences(other))}), "
                "so that their mean says nothing: move them to folders of their own"
            )
