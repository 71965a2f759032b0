"""The same batches before and after a resume."""

from collections.abc import Callable
from typing import Any

from fairseq.data import FairseqDataset
from fairseq.data.iterators import EpochBatchIterating
from fairseq.tasks import FairseqTask


def resumable_batches(
    task: FairseqTask,
    build: Callable[..., EpochBatchIterating],
    dataset: FairseqDataset,
    epoch: int,
    limits: dict[str, Any],
) -> EpochBatchIterating:
    """Return the iterator over a data set, with the batches of the first epoch, whichever epoch the run begins with.

    Forced by: fairseq batches a data set once per process, with sentences of equal length in an order that
    it draws with `seed + epoch`; a run that resumes in a later epoch would draw another order.

    Args:
        build: fairseq's own `get_batch_iterator`.
        epoch: the epoch to begin with.
        limits: the other arguments of `build`.
    """
    kept = not limits.get("update_epoch_batch_itr") and not limits.get("disable_iterator_cache")
    if not kept or dataset in task.dataset_to_epoch_iter:
        return build(dataset, epoch=epoch, **limits)
    iterator = build(dataset, epoch=1, **limits)
    iterator.epoch = max(epoch, 1)
    return iterator
