"""How far Φ moves, and when that counts as not at all."""

import pytest
import torch

from fairseq_dlf.translation.reports.movement import LEAST_SHARE, movement_of


def test_moves_are_root_mean_squares_from_the_beginning():
    movement = movement_of(torch.tensor([[1.0, 1.0], [4.0, 5.0], [1.0, 3.0]]))
    assert movement.moved.tolist() == pytest.approx([0.0, 12.5**0.5, 2.0**0.5])
    assert movement.size == pytest.approx(20.5**0.5)
    assert movement.farthest == pytest.approx(12.5**0.5) and movement.share == pytest.approx((12.5 / 20.5) ** 0.5)


@pytest.mark.parametrize(("factor", "still"), [(0.98, True), (1.03, False)])
def test_below_the_least_share_a_teacher_is_still(factor, still):
    phi = torch.full((3, 5), 2.0)
    phi[1:] += 2.0 * factor * LEAST_SHARE
    assert movement_of(phi).still is still


def test_a_phi_that_returns_has_moved():
    assert not movement_of(torch.tensor([[1.0], [1.5], [1.0]])).still


def test_zero_coefficients_are_still():
    movement = movement_of(torch.zeros(3, 2))
    assert movement.share == 0.0 and movement.still
