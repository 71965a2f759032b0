"""Records of finished runs: small JSON files, and beside them the statistics of their output on test."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from experiments.logs import Validation
from experiments.packing import Statistics, packed, unpacked
from experiments.table import Value
from fairseq_dlf.core.files.fields import parse_json, read_dataclass, read_text
from fairseq_dlf.core.files.replacement import replacing
from fairseq_dlf.core.support.errors import InputError, MissingFileError

Made = TypeVar("Made")
REMEDY = "take it from the repository again, or delete it and run its training again"


@dataclass(frozen=True)
class Data:
    """What a run was trained on: the digest of the target dictionary, and the pairs of the training set."""

    dictionary: str
    pairs: int


@dataclass(frozen=True)
class Machine:
    """Where a run was made; `threads` is of one run, several of which may have shared the cores, or the GPU."""

    cpu: str
    cores: int
    threads: int
    versions: Mapping[str, str]
    gpu: str | None = None


@dataclass(frozen=True)
class Decoding:
    """Scores of an output on test; BLEU is detokenised and lower-cased, the interval by bootstrap resampling.

    Attributes:
        hypotheses: digest of the tokenised sentences in the order of the corpus.
    """

    command: str
    commit: str
    sentences: int
    bleu: float
    interval_95: tuple[float, float]
    signature: str
    tokenised_bleu: float
    tokenised_signature: str
    hypotheses: str


@dataclass(frozen=True)
class Record:
    """A finished run.

    Attributes:
        run: its name.
        command: what made it, with placeholders for folders.
        commit: of this repository, with '-dirty' where files differed from it.
        seed: of the training.
        setting: the values that are tuned, by axis.
        data: fingerprint of the corpus.
        curve: all validations.
        best_bleu: the highest BLEU on dev among them.
        best_update: the update with it.
        train: figures at the log's last line on the training set.
        step_s: seconds an update, median over intervals of the log.
        wall_s: seconds of the whole run.
        diverged: whether it ended early because figures were not finite.
        machine: where.
        test: what its best checkpoint does on test; None if it was not decoded.
        starts: records of the warm start and the teacher that it was made from, where these were made again on another
            machine and came out otherwise.
    """

    run: str
    command: str
    commit: str
    seed: int
    setting: Mapping[str, Value]
    data: Data
    curve: tuple[Validation, ...]
    best_bleu: float | None
    best_update: int | None
    train: Mapping[str, float]
    step_s: float | None
    wall_s: float | None
    diverged: bool
    machine: Machine
    test: Decoding | None = None
    starts: tuple[str, ...] = ()

    @property
    def warm_start(self) -> str | None:
        """Return the record of the warm start, where that is not the first one."""
        return next((name for name in self.starts if name.rpartition("/")[2].startswith("warm")), None)


def version_name(name: str, number: int) -> str:
    """Return the name of a training's record as it came out the second time, the third, …"""
    return f"{name}+{number}"


def read_record(kind: type[Made], path: Path) -> Made | None:
    """Return the record in a file, or None if there is none.

    Args:
        kind: the dataclass of the record.

    Raises:
        InputError: it is damaged.
    """
    if not path.is_file():
        return None
    return read_dataclass(kind, parse_json(read_text(path, REMEDY), path, REMEDY), path, REMEDY)


def write_record(path: Path, record: Any) -> None:
    """Write a record, a dataclass, in place of an earlier one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        partial.write_text(json.dumps(asdict(record), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Records:
    """The records of a table.

    Attributes:
        folder: where they lie, each at the name of its run.
    """

    folder: Path

    def path(self, name: str) -> Path:
        """Return the file of a run's record."""
        return self.folder / f"{name}.json"

    def read(self, name: str) -> Record | None:
        """Return a run's record, or None if there is none.

        Raises:
            InputError: it is damaged.
        """
        return read_record(Record, self.path(name))

    def versions(self, name: str) -> list[Record]:
        """Return a training's record, and those of it as it came out on other machines where it was made again.

        Raises:
            InputError: one is damaged.
        """
        found = [] if (first := self.read(name)) is None else [first]
        while found and (record := self.read(version_name(name, len(found) + 1))) is not None:
            found.append(record)
        return found

    def write(self, record: Record) -> None:
        """Write a record in place of an earlier one."""
        write_record(self.path(record.run), record)

    def write_statistics(self, name: str, statistics: Statistics) -> None:
        """Write the statistics of a run's output on test beside its record."""
        path = self._statistics(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial, partial.open("wb") as file:
            np.save(file, packed(statistics), allow_pickle=False)

    def statistics(self, name: str) -> Statistics:
        """Return the statistics of a run's output on test.

        Raises:
            MissingFileError: there are none.
            InputError: they are damaged.
        """
        path = self._statistics(name)
        try:
            return unpacked(np.load(path, allow_pickle=False))
        except FileNotFoundError as error:
            raise MissingFileError(f"there is no {path}, which the test of significance needs: {REMEDY}") from error
        except (ValueError, EOFError) as error:
            raise InputError(f"{path} is damaged: {REMEDY}") from error

    def _statistics(self, name: str) -> Path:
        return self.folder / f"{name}.npy"
