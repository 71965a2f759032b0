"""Statistics of sentences in few bytes, as they are stored."""

import numpy as np
from numpy.typing import NDArray

from fairseq_dlf.core.support.errors import InputError

ORDERS = 4
# As in fairseq_dlf.translation.bleu.statistics, whose import takes seconds.
Statistics = NDArray[np.int64]


def packed(statistics: Statistics) -> NDArray[np.unsignedinteger]:
    """Return [sentences, 6] in the smallest type: what n-grams there are follows from the length.

    Raises:
        InputError: it does not follow, or a count is negative.
    """
    kept = statistics[:, : 2 + ORDERS]
    if kept.min(initial=0) < 0 or not np.array_equal(unpacked(kept), statistics):
        raise InputError("the statistics of BLEU are not those of n-grams of 1 to 4 words: compute them by sacrebleu")
    return kept.astype(np.min_scalar_type(int(kept.max(initial=0))))


def unpacked(kept: NDArray[np.integer]) -> Statistics:
    """Return all [sentences, 10] from what `packed` keeps.

    Raises:
        ValueError: the array has another shape.
    """
    if kept.ndim != 2 or kept.shape[1] != 2 + ORDERS:
        raise ValueError(f"got an array of shape {kept.shape}, wanted [sentences, {2 + ORDERS}]")
    whole = kept.astype(np.int64)
    totals = np.maximum(whole[:, :1] - np.arange(ORDERS), 0)
    return np.concatenate([whole, totals], axis=1)
