"""Cuts of train that are parts of each other, and pairs with the target of another."""

import dataclasses

import pytest

pytest.importorskip("fairseq")

from fairseq_dlf.core.support.errors import InputError  # noqa: E402
from fairseq_dlf.translation.corpus.cuts import cut_train, misalign_targets  # noqa: E402
from fairseq_dlf.translation.corpus.settings import PreparationSettings  # noqa: E402
from fairseq_dlf.translation.corpus.tokens import Pair  # noqa: E402

PLAIN = PreparationSettings("parallel", "de", "en", "subword_nmt", 50, False, 175, 9.0)
PAIRS = [Pair(f"s{i}", f"t{i}", f"r{i}") for i in range(50)]


def settings(**changes):
    return dataclasses.replace(PLAIN, **changes)


def test_a_smaller_cut_is_part_of_a_greater_one_and_in_order():
    few, more = (cut_train(PAIRS, settings(train_pairs=number)) for number in (10, 30))
    assert len(few) == 10 and set(few) < set(more)
    assert [PAIRS.index(pair) for pair in more] == sorted(PAIRS.index(pair) for pair in more)
    assert cut_train(PAIRS, settings(train_pairs=10, cut_seed=2)) != few == cut_train(PAIRS, settings(train_pairs=10))
    assert cut_train(PAIRS, PLAIN) == cut_train(PAIRS, settings(train_pairs=50)) == PAIRS


def test_more_pairs_than_there_are_is_refused():
    with pytest.raises(InputError, match="train_pairs is 51, but there are 50 clean train pairs: keep fewer"):
        cut_train(PAIRS, settings(train_pairs=51))


@pytest.mark.parametrize(("share", "wrong"), [(0.3, 15), (1.0, 50), (0.04, 2), (0.02, 0), (0.0, 0)])
def test_a_share_of_the_pairs_has_another_target(share, wrong):
    noisy = misalign_targets(PAIRS, settings(misaligned=share))
    assert [pair.source for pair in noisy] == [pair.source for pair in PAIRS]
    assert sum(found != pair for found, pair in zip(noisy, PAIRS, strict=True)) == wrong
    assert sorted(pair.target for pair in noisy) == sorted(pair.target for pair in PAIRS)
    assert all(pair.target[1:] == pair.reference[1:] for pair in noisy)


def test_the_noise_is_that_of_its_seed():
    first, same, other = (misalign_targets(PAIRS, settings(misaligned=0.3, cut_seed=seed)) for seed in (1, 1, 2))
    assert first == same != other
