"""The update number and the figures of all workers, which fairseq passes to tasks, but not to criterions."""

from collections.abc import Callable, Mapping, Sequence
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


def watch_figures(task: FairseqTask, report: Callable[[Sequence[Mapping[str, Any]]], None]) -> None:
    """Report the logging outputs of every update and every validation batch of this one task, before they are logged.

    They hold the sums over all batches of an update and over all workers, and every worker is told the same.

    Forced by: fairseq passes them to the class of a criterion only, which knows nothing of the run.
    """
    inner = task.reduce_metrics

    def reduce_metrics(logging_outputs: Sequence[Mapping[str, Any]], criterion: Any) -> Any:
        report(logging_outputs)
        return inner(logging_outputs, criterion)

    task.reduce_metrics = reduce_metrics


def watch_gaps(task: FairseqTask, report: Callable[[bool], None]) -> None:
    """Report, before each training step of this one task, whether its batch only fills a gap and must not count.

    Forced by: a worker that has no batch left trains on an earlier one, with its loss times 0, of which fairseq
    tells `task.train_step` only.
    """
    inner = task.train_step

    def train_step(*given: Any, ignore_grad: bool = False, **by_name: Any) -> Any:
        report(ignore_grad)
        return inner(*given, ignore_grad=ignore_grad, **by_name)

    task.train_step = train_step


def watch_steps(task: FairseqTask, finish: Callable[[], None]) -> None:
    """Call a function after each step of the student's optimiser in this one task, on all workers.

    Forced by: fairseq adds up gradients over the batches of `--update-freq` and steps its own optimiser only; a
    criterion does not learn when an update is complete, but `task.optimizer_step` does.
    """
    inner = task.optimizer_step

    def optimizer_step(*given: Any, **by_name: Any) -> Any:
        result = inner(*given, **by_name)
        finish()
        return result

    task.optimizer_step = optimizer_step
