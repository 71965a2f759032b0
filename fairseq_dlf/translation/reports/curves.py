"""Training curves of teachers and students, from the logs of `fairseq-train`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fairseq_dlf.core.files.text import read_content
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.train_log import read_line

# A figure of every episode, in which logs of teachers differ from those of students.
_OF_EPISODES = "horizon"
BLEU, MOVED = "bleu", "phi_moved"


@dataclass(frozen=True)
class Curve:
    """Validations of a training.

    Attributes:
        path: of the log.
        of_teacher: whether a teacher was trained: BLEU is that of students that it has taught.
        figures: of each validation, by name, under the number of completed updates, ascending.
    """

    path: Path
    of_teacher: bool
    figures: dict[int, dict[str, float]]

    def points(self, name: str) -> dict[int, float]:
        """Return a figure by update; validations without it are left out."""
        return {update: each[name] for update, each in self.figures.items() if name in each}

    @property
    def best(self) -> tuple[int, float]:
        """Return the first update with the highest BLEU, and this BLEU."""
        bleu = self.points(BLEU)
        update = max(bleu, key=lambda each: (bleu[each], -each))
        return update, bleu[update]


@dataclass(frozen=True)
class System:
    """A system's curves, one a seed."""

    label: str
    curves: tuple[Curve, ...]

    @property
    def of_teacher(self) -> bool:
        """Return whether teachers were trained."""
        return self.curves[0].of_teacher

    def band(self, name: str) -> dict[int, list[float]]:
        """Return a figure's values of all seeds by update, at the updates where every seed was validated."""
        points = [curve.points(name) for curve in self.curves]
        shared = [update for update in points[0] if all(update in each for each in points)]
        return {update: [each[update] for each in points] for update in shared}


def read_system(label: str, paths: Sequence[Path]) -> System:
    """Read the logs of a system's seeds.

    Raises:
        MissingFileError: a log does not exist.
        InputError: a log cannot be read or has no BLEU, logs of teachers and students are mixed, or no update was
            validated in all of them.
    """
    system = System(label, tuple(map(read_curve, paths)))
    if len({curve.of_teacher for curve in system.curves}) > 1:
        raise InputError(f"{label} has logs of teachers and of students: give each a name of its own", "curves")
    if not system.band(BLEU):
        raise InputError(
            f"the logs of {label} have no update at which all were validated: give each a name of its own", "curves"
        )
    return system


def read_curve(path: Path) -> Curve:
    """Read a log in the format `json` or `simple`; where a training was continued, later lines replace earlier ones.

    Raises:
        MissingFileError, InputError: as `read_system`.
    """
    # fairseq and its libraries may print any bytes.
    text = read_content(path, "the log").decode("utf-8", errors="replace")
    lines = [read for read in map(read_line, text.splitlines()) if read is not None]
    of_teacher = any(_OF_EPISODES in line.figures for line in lines)
    found = {int(each["num_updates"]): each for kind, each in lines if kind == "valid" and "num_updates" in each}
    if not any(BLEU in each for each in found.values()):
        raise InputError(
            f"{path} tells no BLEU on dev ({len(found):,} validations): pass a log of fairseq-train, written with "
            "--log-format json or simple, of a training with --task dlf_translation, dlf_teaching, or --eval-bleu",
            setting="curves",
        )
    return Curve(path, of_teacher, dict(sorted(found.items())))
