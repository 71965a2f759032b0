"""The task `dlf_teaching` outside of `fairseq-train`: what its options name, ready for lessons."""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from fairseq import options as fairseq_options
from fairseq import tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf

from fairseq_dlf.core.teaching.teachers import Teacher
from fairseq_dlf.translation.episodes.lessons import Lessons

TEACHING = ("--task", "dlf_teaching", "--arch", "dlf_teacher", "--criterion", "dlf_teaching")


class TeachingTask(NamedTuple):
    """A task with its student.

    Attributes:
        task: a `DlfTeachingTask`.
        lessons: its lessons.
        teacher: untaught.
        phi_start: the multiple of neutral Φ that it gives.
        device: where students are trained.
    """

    task: Any
    lessons: Lessons
    teacher: Teacher
    phi_start: float
    device: torch.device


def teaching_task(words: Sequence[str]) -> TeachingTask:
    """Set up the task that a command line names.

    Args:
        words: the data-bin and the options of `fairseq-train … --task dlf_teaching`.

    Raises:
        InputError, MissingFileError: an option, or what it names, is wrong.
    """
    parser = fairseq_options.get_training_parser()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # hydra's, of every command of fairseq
        cfg = convert_namespace_to_omegaconf(fairseq_options.parse_args_and_arch(parser, [*words, *TEACHING]))
    task = tasks.setup_task(cfg.task)
    teacher = task.build_model(cfg.model).teacher
    device = torch.device("cuda" if torch.cuda.is_available() and not cfg.common.cpu else "cpu")
    return TeachingTask(task, task.lessons, teacher, cfg.model.phi_start, device)
