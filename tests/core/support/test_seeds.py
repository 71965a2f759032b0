"""Seeds: the same numbers, the same seed; others, another."""

import itertools

import torch

from fairseq_dlf.core.support.seeds import mixed_seed


def test_seeds_are_what_they_were():
    """Results for fixed seeds depend on these very numbers."""
    assert [mixed_seed(1), mixed_seed(1, 2), mixed_seed(12)] == [1803989619, 402173847, 1800524849]


def test_every_number_and_its_place_counts():
    made = [mixed_seed(*numbers) for numbers in itertools.product(range(8), repeat=3)]
    assert len(set(made)) == 8**3
    assert mixed_seed(1, 23) != mixed_seed(12, 3)


def test_torch_takes_them():
    seeds = [mixed_seed(number) for number in range(100)]
    assert all(0 <= seed < 2**32 for seed in seeds) and max(seeds) > 2**31
    torch.Generator().manual_seed(max(seeds))
