"""A training as the log of fairseq-train tells it."""

import re
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fairseq_dlf.core.support.errors import StateError
from fairseq_dlf.train_log import read_line

STARTED = "| fairseq_cli.train | training on "
DONE = "| fairseq_cli.train | done training in "
SAVED = re.compile(r"\| fairseq\.checkpoint_utils \| Saved checkpoint .* @ (\d+) updates")
DIVERGED = ("FloatingPointError", "Minimum loss scale reached")
# An interval with so many seconds of training gives seconds a step well enough, although fairseq rounds them.
LONG_S = 100.0


@dataclass(frozen=True)
class Validation:
    """Figures of dev after an update; losses in bits a token."""

    update: int
    bleu: float | None
    loss: float | None = None
    nll_loss: float | None = None
    expected_bleu: float | None = None


@dataclass(frozen=True)
class TrainingLog:
    """A training as its log tells it.

    Attributes:
        curve: validations in the order of updates.
        train: figures at the last line on the training set.
        step_s: seconds an update, the median over intervals of the log; None with none that can tell.
        wall_s: seconds of training and validation, over all processes that continued it.
        finished: whether the last process ended by itself.
        diverged: whether the last process ended because figures were not finite.
        saved: updates after which checkpoints were saved.
    """

    curve: tuple[Validation, ...]
    train: Mapping[str, float]
    step_s: float | None
    wall_s: float | None
    finished: bool
    diverged: bool
    saved: frozenset[int] = frozenset()

    @property
    def best(self) -> Validation | None:
        """Return the first validation with the highest BLEU."""
        measured = [each for each in self.curve if each.bleu is not None]
        return max(measured, key=lambda each: (each.bleu or 0.0, -each.update), default=None)


def bleus_of(curve: Iterable[Validation]) -> dict[int, float | None]:
    """Return BLEU on dev by update, by which two trainings are told apart."""
    return {each.update: each.bleu for each in curve}


def read_log(path: Path) -> TrainingLog:
    """Read a log; one that is not there is that of a training that has not begun."""
    # fairseq and its libraries may print any bytes.
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    return parse_log(text)


def parse_log(text: str) -> TrainingLog:
    """Read the text of a log; where a training was continued, later lines on an update replace earlier ones."""
    curve: dict[int, Validation] = {}
    train: dict[str, float] = {}
    timing = _Timing()
    for line in text.splitlines():
        if STARTED in line:
            timing.start()
        read = read_line(line)
        if read is None or "num_updates" not in read.figures:
            continue
        kind, figures = read
        if kind == "valid":
            timing.validated = True
            curve[int(figures["num_updates"])] = _validation(figures)
        else:
            train = figures
        if kind == "train_inner":
            timing.add(figures)
    last = text[text.rfind(STARTED) :]
    return TrainingLog(
        curve=tuple(curve[update] for update in sorted(curve)),
        train=train,
        step_s=timing.median(),
        wall_s=train.get("wall"),
        finished=DONE in last,
        diverged=any(each in last for each in DIVERGED),
        saved=frozenset(map(int, SAVED.findall(text))),
    )


def parse_validation(text: str, update: int) -> Validation:
    """Return the last validation in what fairseq-validate printed.

    Args:
        update: of the checkpoint, which fairseq-validate does not print.

    Raises:
        StateError: there is none with BLEU.
    """
    found = [read.figures for read in map(read_line, text.splitlines()) if read is not None]
    if not found or "bleu" not in found[-1]:
        raise StateError("fairseq-validate printed no BLEU: look into the log of the run's average")
    return _validation({**found[-1], "num_updates": update})


class _Timing:
    """Seconds an update over the intervals of the log, but those with a validation or an interruption within."""

    def __init__(self) -> None:
        self.validated = False
        self._before: float | None = 0.0
        self._starts = 0
        self._seconds: list[float] = []

    def start(self) -> None:
        """Take note of a new process; from where a second one goes on is not known here."""
        self._starts += 1
        if self._starts > 1:
            self._before = None

    def add(self, figures: Mapping[str, float]) -> None:
        """Add the interval that ends with these figures."""
        seconds = None if self._before is None else self._interval(figures, figures["num_updates"] - self._before)
        if seconds is not None:
            self._seconds.append(seconds)
        self._before, self.validated = figures["num_updates"], False

    def median(self) -> float | None:
        return round(statistics.median(self._seconds), 4) if self._seconds else None

    def _interval(self, figures: Mapping[str, float], updates: float) -> float | None:
        # `train_wall` is time of training alone, in whole seconds; `ups` includes validations, in hundredths.
        train_wall, per_second = figures.get("train_wall", 0.0), figures.get("ups", 0.0)
        if train_wall >= LONG_S and updates > 0:
            return train_wall / updates
        return None if self.validated or per_second <= 0.0 else 1.0 / per_second


def _validation(figures: Mapping[str, float]) -> Validation:
    names = ("bleu", "loss", "nll_loss", "expected_bleu")
    return Validation(int(figures["num_updates"]), *(figures.get(name) for name in names))
