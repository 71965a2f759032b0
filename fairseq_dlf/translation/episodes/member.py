"""A member of the population of students that a teacher learns from."""

from collections.abc import Callable
from typing import Optional

from fairseq.tasks import FairseqTask
from torch import Tensor

from fairseq_dlf.core.hypergradient.student import Student
from fairseq_dlf.translation.bleu.progress import StudentProgress
from fairseq_dlf.translation.episodes.batches import micro_batches
from fairseq_dlf.translation.episodes.checkpoints import StudentCheckpoint, student_of
from fairseq_dlf.translation.episodes.config import DlfTeachingConfig
from fairseq_dlf.translation.episodes.starts import Origin, Start, Starts
from fairseq_dlf.translation.regularisers import RegularisedLoss


class Member:
    """A student, where its episodes start, and what is known of its start.

    Args:
        task: whose dictionaries the student must have been trained with.
        cfg: the options of teaching.
        origin: its checkpoint, and the way of its starts.
        loss: of students.
        combine: sums over the workers that share the student's batches.

    Raises:
        MissingFileError, InputError: the checkpoint or the rate of dropout is wrong.

    Attributes:
        student: on the CPU until a lesson is prepared.
        starts: of its episodes.
    """

    def __init__(
        self,
        task: FairseqTask,
        cfg: DlfTeachingConfig,
        origin: Origin,
        loss: RegularisedLoss,
        combine: Callable[[Tensor], Tensor],
    ):
        checkpoint = StudentCheckpoint(origin.checkpoint, task)
        self.student: Student = student_of(checkpoint, loss, cfg.student_dropout, combine)
        if cfg.micro_batches > 1:
            split = micro_batches(cfg.micro_batches, task.target_dictionary.pad(), cfg.left_pad_source)
            self.student = self.student.in_parts(split)
        self.starts = Starts(checkpoint, self.student, origin.way)
        self._warm_bleu: Optional[Tensor] = None

    def seen(self, start: Start, progress: StudentProgress) -> Callable[[int, Tensor], Tensor]:
        """Return the function by which a lesson observes its student; the warm student is decoded only once."""

        def seen(t: int, params: Tensor) -> Tensor:
            known = self._warm_bleu if start.warm and t == 0 else None
            if known is None:
                known = progress.measure(self.student, params)
            if start.warm and t == 0:
                self._warm_bleu = known
            return known

        return seen
