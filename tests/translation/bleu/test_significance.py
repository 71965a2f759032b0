"""The test that gives p: exact on few sentences, at its level where systems are equal, blind to the order of two."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import binom

from fairseq_dlf.translation.bleu.significance import p_value, signature_of_p
from fairseq_dlf.translation.bleu.statistics import corpus_bleu
from tests.experiments.made import sentences

PAIRS = 1000
# The share of seeds for which a right test would land outside of the bounds.
RARE = 1e-3


def exact_p(system, baseline):
    """The share of all 2^n swaps with at least the difference that was found."""
    swaps = np.array(list(product([0, 1], repeat=len(system))))
    first, second = (swaps @ one + (1 - swaps) @ other for one, other in ((system, baseline), (baseline, system)))
    differences = np.abs(corpus_bleu(first) - corpus_bleu(second))
    return (differences >= abs(corpus_bleu(system.sum(0)) - corpus_bleu(baseline.sum(0))) - 1e-9).mean()


@pytest.mark.parametrize(("share", "seed"), [(0.5, 1), (0.7, 2), (0.9, 3)])
def test_p_is_the_share_of_all_swaps(share, seed):
    lengths = sentences(0.5, 12, seed=9)[:, 0]
    system, baseline = sentences(share, seed=seed, lengths=lengths), sentences(0.5, seed=10, lengths=lengths)
    wanted, trials = exact_p(system, baseline), 20_000
    found = p_value(system, baseline, trials=trials)
    assert abs(found - wanted) < 5 * (wanted * (1 - wanted) / trials) ** 0.5 + 1 / trials
    assert 0 < wanted < 0.9


def equal_systems(pairs, number=60):
    """Pairs of systems of one distribution, [pairs, 2, sentences, 10]: outputs of all qualities, some far too long."""
    draw = np.random.default_rng(1)
    lengths = np.broadcast_to(draw.integers(5, 15, (pairs, 1, number)), (pairs, 2, number))
    shares = np.broadcast_to(draw.beta(1.5, 1.5, (pairs, 1, number)), lengths.shape)
    usual = np.maximum(lengths + draw.integers(-2, 3, lengths.shape), 1)
    output = np.where(draw.random(lengths.shape) < 0.03, 3 * lengths, usual)
    matches, left = [], np.minimum(output, lengths)
    for order in range(4):
        left = draw.binomial(np.maximum(left - (order > 0), 0), shares)
        matches.append(left)
    totals = [np.maximum(output - order, 0) for order in range(4)]
    return np.stack([output, lengths, *matches, *totals], axis=-1)


def bounds(level, pairs):
    """The fewest and the most false alarms of a test of this level."""
    return binom.ppf((RARE / 2, 1 - RARE / 2), pairs, level)


def test_equal_systems_are_told_apart_as_often_as_the_level_says():
    """With 99 shuffles, p ≤ k / 100 has the probability k / 100 under the null hypothesis, to within ties."""
    values = np.array([p_value(*pair, trials=99, seed=seed) for seed, pair in enumerate(equal_systems(PAIRS))])
    for level in (0.05, 0.10, 0.50):
        low, high = bounds(level, PAIRS)
        assert low <= (values <= level + 1e-9).sum() <= high, level


def test_the_bounds_tell_the_usual_paired_bootstrap_from_a_test_of_its_level():
    """It compares |δ*| − mean |δ*| with |δ|, δ* being differences of resamples, and so finds too much."""
    draw, alarms, pairs = np.random.default_rng(2), 0, 400
    for system, baseline in equal_systems(pairs):
        drawn = draw.multinomial(len(system), np.full(len(system), 1 / len(system)), size=99)
        resampled = np.abs(corpus_bleu(drawn @ system) - corpus_bleu(drawn @ baseline))
        found = abs(corpus_bleu(system.sum(0)) - corpus_bleu(baseline.sum(0)))
        alarms += (resampled - resampled.mean() > found).sum() + 1 <= 5
    assert alarms > bounds(0.05, pairs)[1]


def test_the_order_of_two_systems_and_the_sign_of_their_difference_do_not_matter():
    lengths = sentences(0.6, 100, seed=1)[:, 0]
    better, worse = (sentences(share, seed=seed, lengths=lengths) for share, seed in ((0.66, 2), (0.6, 3)))
    assert p_value(better, worse, trials=500) == p_value(worse, better, trials=500) < 1


def test_the_seed_draws_the_shuffles():
    pair = equal_systems(1)[0]
    first, again, other = (p_value(*pair, trials=300, seed=seed) for seed in (4, 4, 5))
    assert first == again != other


def test_the_signature_tells_all_that_changes_p():
    signature = signature_of_p(trials=50, seed=7)
    assert str(signature).startswith("approximate-randomisation|paired:sentences|sides:2|shuffles:50|seed:7|version:")
