"""Approximate randomisation and bootstrap: is the difference of two systems' corpus BLEU more than chance?

Works on the statistics of single sentences, so that any two recorded runs can be compared later.
"""

import numpy as np
from numpy.typing import NDArray

from fairseq_dlf.core.support.checks import require_at_least
from fairseq_dlf.core.support.errors import InputError

ORDERS = 4
# Per sentence: length of output and reference, n-grams that match, n-grams there are; as sacrebleu has them.
Statistics = NDArray[np.int64]
TRIALS = 10_000
SAMPLES = 1000
_CHUNK = 500


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


def corpus_bleu(sums: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the BLEU of summed statistics [..., 10], smoothed as sacrebleu does by default (`exp`)."""
    length, reference = sums[..., 0].astype(float), sums[..., 1].astype(float)
    correct, total = sums[..., 2 : 2 + ORDERS], sums[..., 2 + ORDERS :]
    halved = np.cumsum(correct == 0, axis=-1)
    # Each further order without a match counts as half of what the one before counted.
    counted = np.where(correct == 0, 0.5**halved, correct)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(total > 0, np.log(counted / total), -np.inf)
        brevity = np.where(length < reference, np.exp(1.0 - reference / length), 1.0)
    bleu = 100.0 * brevity * np.exp(logs.mean(axis=-1))
    return np.where((correct.sum(axis=-1) == 0) | (length == 0), 0.0, bleu)


def p_value(system: Statistics, baseline: Statistics, trials: int = TRIALS, seed: int = 12345) -> float:
    """Return the probability of at least this difference of BLEU, of either sign, if the systems were one.

    In each trial the two outputs of every sentence change places with probability one half.

    Args:
        system: [sentences, 10].
        baseline: of the same sentences.
        trials: 1 or more.
        seed: of the trials.

    Returns:
        (trials that differ at least as much + 1) / (trials + 1).

    Raises:
        InputError: other numbers of sentences, other references, or no trial.

    Source: Riezler and Maxwell 2005.
    """
    require_at_least(1, trials=trials)
    _require_paired(system, baseline)
    found = abs(corpus_bleu(system.sum(0)) - corpus_bleu(baseline.sum(0)))
    draw = np.random.default_rng(seed)
    # Exact in single precision, which holds whole numbers up to 2^24.
    difference, both = (baseline - system).astype(np.float32), system.sum(0) + baseline.sum(0)
    hits = 0
    for start in range(0, trials, _CHUNK):
        swapped = draw.integers(0, 2, size=(min(_CHUNK, trials - start), len(system)), dtype=np.uint8)
        first = system.sum(0) + np.rint(swapped.astype(np.float32) @ difference).astype(np.int64)
        differences = np.abs(corpus_bleu(first) - corpus_bleu(both - first))
        # Equal differences must not fall apart by rounding.
        hits += int((differences >= found - 1e-9).sum())
    return (hits + 1) / (trials + 1)


def paired_interval(
    system: Statistics, baseline: Statistics, samples: int = SAMPLES, seed: int = 12345
) -> tuple[float, float]:
    """Return the 95 % interval of BLEU of a system minus that of a baseline, by paired bootstrap resampling.

    Args:
        system: [sentences, 10].
        baseline: of the same sentences.
        samples: draws of as many sentences, 1 or more.
        seed: of the draws.

    Raises:
        InputError: other numbers of sentences, other references, or no sample.

    Source: Koehn 2004.
    """
    require_at_least(1, samples=samples)
    _require_paired(system, baseline)
    sentences = len(system)
    drawn = np.random.default_rng(seed).multinomial(sentences, np.full(sentences, 1 / sentences), size=samples)
    differences = corpus_bleu(drawn @ system) - corpus_bleu(drawn @ baseline)
    low, high = np.percentile(differences, (2.5, 97.5))
    return float(low), float(high)


def _require_paired(system: Statistics, baseline: Statistics) -> None:
    if system.shape != baseline.shape:
        raise InputError(
            f"the outputs have {len(system):,} and {len(baseline):,} sentences: compare outputs of one test set"
        )
    if not np.array_equal(system[:, 1], baseline[:, 1]):
        raise InputError("the outputs were scored against different references: compare outputs of one test set")
