"""The update number, which fairseq passes to tasks, but not to criterions."""

from collections.abc import Callable
from typing import Any

from fairseq.tasks import FairseqTask


def watch_updates(task: FairseqTask, report: Callable[[int], None]) -> None:
    """Report the number of completed updates before each training step of this one task.

    Forced by: fairseq passes the number to `task.train_step` only. Wrapping this one task's method is the
    only way that also works with `--update-freq`, after a resume, and for tasks that are not ours.
    """
    inner = task.train_step

    def train_step(
        sample: Any, model: Any, criterion: Any, optimizer: Any, update_num: int, *more: Any, **by_name: Any
    ) -> Any:
        report(update_num)
        return inner(sample, model, criterion, optimizer, update_num, *more, **by_name)

    task.train_step = train_step
