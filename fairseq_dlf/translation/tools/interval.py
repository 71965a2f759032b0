"""Corpus BLEU with its 95 % interval by bootstrap resampling, as sacrebleu computes them."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from sacrebleu.metrics import BLEU
from sacrebleu.significance import PairedTest

SEED_VARIABLE = "SACREBLEU_SEED"


class ResampledBleu(NamedTuple):
    """Lower-cased BLEU in points.

    Attributes:
        signature: sacrebleu's, with resamples and seed.
        score: of the corpus.
        mean: over the resamples.
        half_width: of the interval around the mean.
    """

    signature: str
    score: float
    mean: float
    half_width: float


def resampled_bleu(hypotheses: Sequence[str], references: Sequence[str], resamples: int, seed: int) -> ResampledBleu:
    """Return the BLEU of detokenised sentences with its interval.

    Args:
        resamples: 1 or more.
        seed: of the resampling, 1 or more.
    """
    with _seeded(seed):
        # sacrebleu's paired test of one system alone tests nothing and gives its interval.
        alone = PairedTest([("", hypotheses)], {"BLEU": BLEU(lowercase=True)}, [references], "bs", n_samples=resamples)
        signatures, scores = alone()
    found: Any = scores["BLEU"][0]
    return ResampledBleu(str(signatures["BLEU"]), float(found.score), float(found.mean), float(found.ci))


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Set sacrebleu's seed, which only the environment can."""
    before = os.environ.get(SEED_VARIABLE)
    os.environ[SEED_VARIABLE] = str(seed)
    try:
        yield
    finally:
        if before is None:
            del os.environ[SEED_VARIABLE]
        else:
            os.environ[SEED_VARIABLE] = before
