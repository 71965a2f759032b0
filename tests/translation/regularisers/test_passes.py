"""Two passes of each sentence: the doubled batch, the divergence with two derivatives, passes that agree."""

import pytest
import torch

from fairseq_dlf.core.support.errors import StateError
from fairseq_dlf.translation.regularisers.passes import require_difference, symmetric_divergence, twice


def test_the_divergence_is_that_of_neighbouring_rows():
    logits = torch.randn(6, 3, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = symmetric_divergence(logits)
    assert found.shape == (3, 3)
    table = torch.log_softmax(logits, -1)
    for row in range(3):
        first, second = table[2 * row], table[2 * row + 1]
        wanted = (first.exp() * (first - second)).sum(-1) + (second.exp() * (second - first)).sum(-1)
        torch.testing.assert_close(found[row], wanted, rtol=1e-12, atol=0)


def test_equal_predictions_have_no_divergence_and_no_gradient():
    logits = torch.randn(2, 3, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    logits = (twice({"logits": logits})["logits"] + torch.tensor([0.0, 3.0] * 2).view(4, 1, 1)).requires_grad_()
    found = symmetric_divergence(logits)
    assert found.abs().max() < 1e-15
    (gradient,) = torch.autograd.grad(found.sum(), logits)
    assert gradient.abs().max() < 1e-15


def test_the_divergence_has_two_derivatives():
    logits = torch.randn(4, 2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).requires_grad_()
    assert torch.autograd.gradcheck(symmetric_divergence, logits)
    assert torch.autograd.gradgradcheck(symmetric_divergence, logits)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_logits_are_computed_in_float32(dtype):
    logits = (3 * torch.randn(4, 2, 50, generator=torch.Generator().manual_seed(3))).to(dtype).requires_grad_()
    found = symmetric_divergence(logits)
    assert found.dtype == torch.float32
    exact = symmetric_divergence(logits.detach().double())
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-6)
    assert torch.autograd.grad(found.sum(), logits)[0].dtype == dtype


def test_sure_predictions_have_a_finite_divergence():
    logits = torch.tensor([[[100.0, -100.0, 0.0]], [[-100.0, 100.0, 0.0]]], requires_grad=True)
    found = symmetric_divergence(logits)
    assert found.item() == pytest.approx(400.0)
    assert torch.autograd.grad(found.sum(), logits)[0].isfinite().all()


def test_the_passes_are_neighbours_so_that_lengths_stay_sorted():
    batch = {"src_tokens": torch.tensor([[5, 6], [7, 1]]), "src_lengths": torch.tensor([2, 1]), "other": None}
    found = twice(batch)
    assert found["src_tokens"].tolist() == [[5, 6], [5, 6], [7, 1], [7, 1]]
    assert found["src_lengths"].tolist() == [2, 2, 1, 1]
    assert found["other"] is None


def test_passes_that_agree_are_named_with_what_to_do():
    require_difference(1e-9, "R", "train")
    with pytest.raises(StateError, match="the two passes of R agree, .*: train with dropout"):
        require_difference(1e-12, "R", "train with dropout")
