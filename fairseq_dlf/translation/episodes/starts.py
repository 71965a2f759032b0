"""Where episodes start: the checkpoint, new weights of its architecture, or where the last episode ended."""

import os
from typing import NamedTuple, Optional

import torch
from torch import Tensor

from fairseq_dlf.core.hypergradient.student import Student
from fairseq_dlf.core.support.digests import tensor_digest
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.support.signature import Part
from fairseq_dlf.translation.episodes.checkpoints import StudentCheckpoint

WAYS = ("warm", "fresh", "continue")


class Origin(NamedTuple):
    """A student as `--student` names it.

    Attributes:
        checkpoint: its path.
        way: where its episodes start: 'warm', 'fresh' or 'continue'.
    """

    checkpoint: str
    way: str


def origins(students: str, start: str) -> list[Origin]:
    """Return the students of a `--student` option, in order.

    Args:
        students: CHECKPOINT or WAY:CHECKPOINT, or several of them with commas between. The name of a file is that
            file, whatever its characters.
        start: the way of those that name none.

    Raises:
        InputError: a checkpoint is missing between two commas, or no student is left for `start`.
    """
    if os.path.isfile(students):
        return [Origin(students, start)]
    entries = [each.strip() for each in students.split(",")]
    found = [_origin(entry, start) for entry in entries]
    if not all(each.checkpoint for each in found):
        raise InputError(
            f"--student {students} lacks a checkpoint: write CHECKPOINT,CHECKPOINT,…, each perhaps after fresh:, warm: "
            "or continue:"
        )
    if start != WAYS[0] and all(_origin(entry, "").way for entry in entries):
        raise InputError(
            f"--student-start {start} would be ignored, for every student of --student {students} names its own: leave "
            "it out"
        )
    return found


def _origin(entry: str, start: str) -> Origin:
    way, colon, checkpoint = entry.partition(":")
    return Origin(checkpoint, way) if colon and way in WAYS else Origin(entry, start)


class Start(NamedTuple):
    """A student before its first update.

    Attributes:
        params: ω_0, (parameters,).
        warm: whether they are the checkpoint's, and the same for every episode.
    """

    params: Tensor
    warm: bool


class Starts:
    """Gives each episode its start.

    Args:
        checkpoint: of the warm student.
        student: built from it, with the checkpoint's weights in its module.
        way: 'warm', 'fresh' or 'continue'.
    """

    def __init__(self, checkpoint: StudentCheckpoint, student: Student, way: str):
        self._checkpoint = checkpoint
        self._student = student
        self._warm = student.flat_params()
        self.way = way

    @property
    def signature(self) -> Part:
        # Of the weights alone: the file also holds its own path and times.
        return {"student": tensor_digest([self._warm]), "start": self.way}

    def of(self, seed: int, device: torch.device, continued: Optional[Tensor] = None) -> Start:
        """The start of an episode, on the device.

        Args:
            seed: of fresh weights.
            continued: where the last episode ended, to go on from; None where there was none.
        """
        if self.way == "fresh":
            return Start(self._fresh(seed).to(device), warm=False)
        if continued is not None:
            return Start(continued.to(device), warm=False)
        self._warm = self._warm.to(device)
        return Start(self._warm, warm=True)

    def _fresh(self, seed: int) -> Tensor:
        student = Student(self._checkpoint.fresh(seed), self._student.objective)
        return student.flat_params()
