"""The student that a run of `--task dlf_teaching` goes on with, from the teacher's checkpoint."""

from pathlib import Path
from typing import Any, NamedTuple, Optional

from fairseq import tasks
from omegaconf import open_dict

import fairseq_dlf.translation.plugins  # noqa: F401  First: it makes fairseq quiet, and checkpoints readable.
from fairseq_dlf.core.hypergradient.student import Student
from fairseq_dlf.core.support.errors import InputError, MissingFileError
from fairseq_dlf.translation.episodes.checkpoints import StudentCheckpoint
from fairseq_dlf.translation.episodes.starts import origins
from fairseq_dlf.translation.hooks.checkpoint_files import load_checkpoint, updates_of
from fairseq_dlf.translation.teachers.task import DlfTeachingTask
from fairseq_dlf.translation.teachers.turns import kept_as
from fairseq_dlf.translation.tools.checkpoints import without_training_state

_WANTED = "a checkpoint of --task dlf_teaching"


class ContinuedStudent(NamedTuple):
    """A student where its last good episode ended.

    Attributes:
        checkpoint: in fairseq's format; configuration and dictionaries are those of the student's start.
        updates: of the teacher so far.
    """

    checkpoint: dict[str, Any]
    updates: int


def continued_student(
    teacher: Path, data: Optional[str] = None, start: Optional[Path] = None, member: int = 1
) -> ContinuedStudent:
    """Return the student that a teacher's run would go on with.

    Args:
        teacher: checkpoint of the teacher.
        data: the data-bin, if not that of the teacher's run.
        start: the checkpoint that the student began with, if it is not where the run found it.
        member: number of the student in the population, from 1.

    Raises:
        MissingFileError: a file is not there.
        InputError: a file is of another kind, or keeps no such student.
    """
    state = load_checkpoint(teacher, _WANTED)
    cfg: Any = getattr(state["cfg"], "task", None)
    if getattr(cfg, "_name", None) != "dlf_teaching":
        raise InputError(f"{teacher} is no checkpoint of a teacher: pass {_WANTED}")
    named = origins(cfg.student or "", str(cfg.student_start))
    if member > len(named):
        students = f"{len(named)} student" + ("s" if len(named) > 1 else "")
        raise InputError(f"{teacher} taught {students}, but --member is {member}: name one of them")
    params = state["extra_state"].get(DlfTeachingTask.__name__, {}).get(kept_as(member - 1))
    if params is None:
        raise InputError(
            f"{teacher} keeps no student {member}, which is taught from its start each time, or has not had a good "
            "episode yet: pass a checkpoint of a run with --student-start continue"
        )
    with open_dict(cfg):
        cfg.data = data or cfg.data
    path = Path(start or named[member - 1].checkpoint)
    if not path.is_file():
        raise MissingFileError(f"{path}, which the student began with, is not there: pass it", setting="student")
    model = StudentCheckpoint(str(path), tasks.setup_task(cfg)).model
    student = Student(model, lambda forward, coefficients, batch: coefficients.sum())  # it is not trained here
    if params.shape != (sum(student.sizes),) or not params.isfinite().all():
        raise InputError(
            f"the student in {teacher} has {params.numel():,} parameters, {path} has {sum(student.sizes):,}, or they "
            "are not all finite: pass the checkpoint that it began with",
            setting="student",
        )
    student.load_flat_params(params)
    began = load_checkpoint(path)
    return ContinuedStudent(without_training_state({**began, "model": model.state_dict()}), updates_of(state))
