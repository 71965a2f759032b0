"""Train pairs made few, or noisy, for experiments on what a loss does with such data."""

import random
from collections.abc import Sequence

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.translation.corpus.settings import PreparationSettings
from fairseq_dlf.translation.corpus.tokens import Pair


def cut_train(pairs: Sequence[Pair], settings: PreparationSettings) -> list[Pair]:
    """Return the first pairs in a random order, so that a smaller cut is part of a greater one, in that of the text.

    Raises:
        InputError: there are fewer pairs than are to be kept.
    """
    number = settings.train_pairs
    if number == 0:
        return list(pairs)
    if number > len(pairs):
        raise InputError(
            f"train_pairs is {number:,}, but there are {len(pairs):,} clean train pairs: keep fewer, or 0 for all",
            setting="train_pairs",
        )
    order = random.Random(settings.cut_seed).sample(range(len(pairs)), len(pairs))
    return [pairs[place] for place in sorted(order[:number])]


def misalign_targets(pairs: Sequence[Pair], settings: PreparationSettings) -> list[Pair]:
    """Return the pairs, of which a share has the target of another of them, and no such pair its own."""
    number = round(settings.misaligned * len(pairs))
    if number < 2:
        return list(pairs)
    draw, noisy = random.Random(f"misaligned {settings.cut_seed}"), list(pairs)
    # Each of a random cycle takes the target of the one after it.
    cycle = draw.sample(range(len(pairs)), number)
    for place, other in zip(cycle, [*cycle[1:], cycle[0]], strict=True):
        noisy[place] = pairs[place]._replace(target=pairs[other].target, reference=pairs[other].reference)
    return noisy
