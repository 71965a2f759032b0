"""Is the difference of two recorded runs more than chance: the test of `dlf-compare`, and an interval."""

import numpy as np

from experiments.packing import packed, unpacked
from fairseq_dlf.core.support.checks import require_at_least
from fairseq_dlf.translation.bleu.significance import SEED, p_value, require_paired
from fairseq_dlf.translation.bleu.statistics import Statistics, corpus_bleu

__all__ = ["Statistics", "corpus_bleu", "p_value", "packed", "paired_interval", "unpacked"]
SAMPLES = 1000


def paired_interval(
    system: Statistics, baseline: Statistics, samples: int = SAMPLES, seed: int = SEED
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
    require_paired(system, baseline)
    sentences = len(system)
    drawn = np.random.default_rng(seed).multinomial(sentences, np.full(sentences, 1 / sentences), size=samples)
    differences = corpus_bleu(drawn @ system) - corpus_bleu(drawn @ baseline)
    low, high = np.percentile(differences, (2.5, 97.5))
    return float(low), float(high)
