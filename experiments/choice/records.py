"""Records of the choice table, one for each pair of a measure and a form."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from experiments.records import Data, Machine, read_record, write_record

Interval = tuple[float, float]


@dataclass(frozen=True)
class Side:
    """A student that was trained with moved Φ, against the one with neutral Φ.

    Attributes:
        measure: change of the measure on the second half.
        bleu: change of greedy BLEU on unseen sentences, in points.
        interval_95: of that change.
    """

    measure: float
    bleu: float
    interval_95: Interval


@dataclass(frozen=True)
class Move:
    """Φ was moved by a step Δ, ahead, and by −Δ, back.

    Attributes:
        share: greatest move of a coefficient, as a share of the root mean square of neutral Φ.
        norm: ‖Δ‖ / ‖Φ‖.
        predicted: change of the measure that dΦ of the first half predicts, ⟨ΣdΦ, Δ⟩.
        expected: the same of the second half, on which the change is measured.
        ahead, back: what came of it.
        half_bleu: (BLEU ahead − BLEU back) / 2, in which curvature cancels.
        half_interval_95: of that.
    """

    share: float
    norm: float
    predicted: float
    expected: float
    ahead: Side
    back: Side
    half_bleu: float
    half_interval_95: Interval

    @property
    def half_measure(self) -> float:
        """Return half the difference of the measure between ahead and back."""
        return (self.ahead.measure - self.back.measure) / 2


@dataclass(frozen=True)
class Seconds:
    """What an episode of this pair costs by itself; `forward` and `measure` were timed, `reverse` is from one step.

    Attributes:
        forward: T updates.
        reverse: the way back, with what the trajectory computes again.
        measure: the measure with its gradient, on a half.
    """

    forward: float
    reverse: float
    measure: float


@dataclass(frozen=True)
class Figures:
    """What was found of a pair.

    Attributes:
        coefficients: numbers in Φ.
        sentences: of the first half, the second, and unseen.
        values: the measure after the run with neutral Φ, of both halves.
        cosine: of ΣdΦ between the halves; None where one of them is 0.
        cosines: the same over successive parts of the run.
        leverage: ‖ΣdΦ‖₁ of both halves.
        growth: of the cotangent on its way back, both halves.
        bleu_before, bleu_neutral: greedy BLEU on unseen sentences, before and after the run with neutral Φ.
        moves: along the direction of the first half.
        control: as far as the last move, with random signs.
        seconds: cost of an episode.
    """

    coefficients: int
    sentences: tuple[int, int, int]
    values: tuple[float, float]
    cosine: float | None
    cosines: tuple[float | None, ...]
    leverage: tuple[float, float]
    growth: tuple[float, float]
    bleu_before: float
    bleu_neutral: float
    moves: tuple[Move, ...]
    control: Move
    seconds: Seconds


@dataclass(frozen=True)
class PairRecord:
    """A finished pair.

    Attributes:
        form, measure: their specs.
        command: that makes this pair, with placeholders for folders.
        commit: of this repository, with '-dirty' where files differed from it.
        signature: everything that changes the figures: student, batches, rates, sentences, steps, seed.
        data, machine: as of other tables.
        figures: what was found.
    """

    form: str
    measure: str
    command: str
    commit: str
    signature: str
    data: Data
    machine: Machine
    figures: Figures


@dataclass(frozen=True)
class PairRecords:
    """The records of a choice table.

    Attributes:
        folder: where they lie: a folder for each form, a file for each measure.
    """

    folder: Path

    def path(self, form: str, measure: str) -> Path:
        """Return the file of a pair."""
        return self.folder / _plain(form) / f"{_plain(measure)}.json"

    def read(self, form: str, measure: str) -> PairRecord | None:
        """Return the record of a pair, or None if there is none."""
        return read_record(PairRecord, self.path(form, measure))

    def write(self, record: PairRecord) -> None:
        """Write a record in place of an earlier one."""
        write_record(self.path(record.form, record.measure), record)

    def all(self) -> Iterator[PairRecord]:
        """Yield all records by the names of their files."""
        for path in sorted(self.folder.glob("*/*.json")):
            found = read_record(PairRecord, path)
            if found is not None:
                yield found


def _plain(spec: str) -> str:
    """Return a spec as the name of a file: 'bins(number=4)' is 'bins_number-4'."""
    return re.sub(r"_+$", "", re.sub(r"[(),]", "_", spec.replace("=", "-")))
