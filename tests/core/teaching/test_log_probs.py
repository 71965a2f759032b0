"""Log-probabilities and their first, second and third derivatives against plain torch."""

import pytest
import torch

from fairseq_dlf.core.teaching.log_probs import LogProbs, log_probs

TOKENS, TYPES = 5, 6
FIELDS = [(summed, every) for summed in (False, True) for every in (False, True)]


@pytest.fixture
def batch():
    torch.manual_seed(4)
    logits = torch.randn(TOKENS, TYPES, dtype=torch.float64, requires_grad=True)
    return logits, torch.tensor([0, 3, 5, 3, 1]), torch.tensor([False, False, True, False, True])


def plain(logits, target, padding=None, summed=False, every=False):
    """The same by a log-softmax that autograd knows."""
    table = torch.log_softmax(logits, dim=-1)
    kept = torch.ones_like(target) if padding is None else (~padding).long()
    of_target = table.gather(1, target.unsqueeze(1)).squeeze(1) * kept
    return LogProbs(logits, target, of_target, table.sum(-1) * kept if summed else None, table if every else None)


def curved(found):
    """A scalar with derivatives of every order in all fields that are there."""
    total = torch.sigmoid(1.7 * found.of_target).sum()
    if found.summed is not None:
        total = total + (0.1 * found.summed).sin().sum()
    return total if found.every is None else total + found.every.exp().pow(2).sum()


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(("summed", "every"), FIELDS)
def test_values_are_those_of_a_log_softmax(batch, summed, every, padded):
    logits, target, padding = batch
    given = (logits, target, padding if padded else None, summed, every)
    for mine, wanted in zip(log_probs(*given)[2:], plain(*given)[2:], strict=True):
        assert (mine is None) == (wanted is None)
        if mine is not None:
            torch.testing.assert_close(mine, wanted, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(("summed", "every"), FIELDS)
def test_three_derivatives_equal_plain_torch(batch, summed, every, padded):
    logits, target, padding = batch
    directions = [torch.randn_like(logits) for _ in range(3)]
    found = []
    for way in (log_probs, plain):
        slope, slopes = curved(way(logits, target, padding if padded else None, summed, every)), []
        for direction in directions:
            (gradient,) = torch.autograd.grad(slope, logits, create_graph=True)
            slopes.append(gradient.detach())
            slope = (gradient * direction).sum()
        found.append(slopes)
    for order, (mine, wanted) in enumerate(zip(*found, strict=True), start=1):
        torch.testing.assert_close(mine, wanted, rtol=1e-11, atol=1e-12, msg=f"derivative {order}")
        assert wanted.abs().max() > 1e-3


@pytest.mark.parametrize("summed", [False, True])
def test_second_and_third_derivatives_by_differences(batch, summed):
    logits, target, _ = batch

    def gradient(logits):
        return torch.autograd.grad(curved(log_probs(logits, target, summed=summed)), logits, create_graph=True)[0]

    assert torch.autograd.gradcheck(gradient, (logits,))
    assert torch.autograd.gradgradcheck(gradient, (logits,))


def test_no_derivative_reaches_padding(batch):
    logits, target, padding = batch
    (gradient,) = torch.autograd.grad(
        curved(log_probs(logits, target, padding, summed=True)), logits, create_graph=True
    )
    (second,) = torch.autograd.grad(gradient.square().sum(), logits)
    for found in (gradient, second):
        assert not found[padding].any() and found[~padding].abs().min() > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(batch, dtype):
    _, target, _ = batch
    half = torch.randn(TOKENS, TYPES).to(dtype).requires_grad_()
    full = half.detach().float().requires_grad_()
    slopes = []
    for logits in (half, full):
        found = log_probs(logits, target, summed=True)
        assert found.of_target.dtype == found.summed.dtype == torch.float32
        (gradient,) = torch.autograd.grad(curved(found), logits, create_graph=True)
        assert gradient.dtype == logits.dtype
        (second,) = torch.autograd.grad(gradient.float().square().sum(), logits)
        assert second.dtype == logits.dtype
        slopes.append((found.of_target, gradient.float(), second.float()))
    assert torch.equal(slopes[0][0], slopes[1][0])
    for mine, wanted in zip(slopes[0][1:], slopes[1][1:], strict=True):
        torch.testing.assert_close(mine, wanted, rtol=0.03, atol=0.03)


def test_a_second_derivative_changes_nothing_that_is_used_again(batch):
    """In-place products are for passes that nobody differentiates further, and spare what the forward saved."""
    logits, target, _ = batch
    (gradient,) = torch.autograd.grad(curved(log_probs(logits, target, summed=True)), logits, create_graph=True)
    twice = [torch.autograd.grad(gradient.square().sum(), logits, retain_graph=True)[0] for _ in range(2)]
    assert torch.equal(*twice)
