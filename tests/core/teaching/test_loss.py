"""The dynamic loss against the formulas, token by token."""

import math

import pytest
import torch

from fairseq_dlf.core.teaching.forms import Diagonal, Matrix
from fairseq_dlf.core.teaching.loss import DynamicLoss

PADDING = 1


@pytest.fixture
def batch():
    torch.manual_seed(3)
    logits = torch.randn(2, 4, 7, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([[3, 2, 6, PADDING], [5, 4, PADDING, PADDING]])
    coefficients = torch.randn(7, dtype=torch.float64)
    return logits, target, coefficients


def by_hand(logits, target, coefficients, ce_share):
    """The formula in plain Python over the tokens that are not padding."""
    total = 0.0
    for row, words in zip(logits.tolist(), target.tolist(), strict=True):
        for scores, word in zip(row, words, strict=True):
            if word == PADDING:
                continue
            log_p = scores[word] - math.log(sum(math.exp(s) for s in scores))
            dynamic = -1 / (1 + math.exp(-coefficients[word].item() * log_p))
            total += (1 - ce_share) * dynamic - ce_share * log_p
    return total


@pytest.mark.parametrize("ce_share", [0.0, 0.3, 1.0])
def test_equals_the_formula_without_padding(batch, ce_share):
    logits, target, coefficients = batch
    found = DynamicLoss(Diagonal(), PADDING, ce_share)(logits, target, coefficients)
    assert found.loss.item() == pytest.approx(by_hand(logits, target, coefficients, ce_share), rel=1e-12)
    assert found.nll_nats.item() == pytest.approx(by_hand(logits, target, coefficients, 1.0), rel=1e-12)


def test_gradient_follows_the_closed_form(batch):
    """d(−σ(Φ log p))/d log p = −Φ σ(1 − σ)."""
    logits, target, coefficients = batch
    (found,) = torch.autograd.grad(DynamicLoss(Diagonal(), PADDING)(logits, target, coefficients).loss, logits)
    log_p = torch.log_softmax(logits, -1).gather(-1, target.unsqueeze(-1)).squeeze(-1)
    sigma = torch.sigmoid(coefficients[target] * log_p)
    weight = (-coefficients[target] * sigma * (1 - sigma)).masked_fill(target == PADDING, 0).detach()
    (wanted,) = torch.autograd.grad((weight * log_p).sum(), logits)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
def test_smoothing_spreads_over_the_other_types(batch, smoothing):
    """ε is shared by all types but the target, as fairseq does: 1 − ε stays at the target."""
    logits, target, coefficients = batch
    found = DynamicLoss(Diagonal(), PADDING, ce_share=1.0, label_smoothing=smoothing)(logits, target, coefficients)
    log_p = torch.log_softmax(logits, -1)
    spread = torch.full_like(log_p, smoothing / 6).scatter(-1, target.unsqueeze(-1), 1.0 - smoothing)
    wanted = -(spread * log_p).sum(-1)[target != PADDING].sum()
    assert found.loss.item() == pytest.approx(wanted.item(), rel=1e-12)


def test_half_precision_logits_are_computed_in_float32(batch):
    logits, target, coefficients = batch
    half = logits.detach().half()
    found = DynamicLoss(Diagonal(), PADDING)(half, target, coefficients.float()).loss
    assert found.dtype == torch.float32
    assert found.item() == DynamicLoss(Diagonal(), PADDING)(half.float(), target, coefficients.float()).loss.item()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"ce_share": 1.5}, "ce_share is 1.5"),
        ({"label_smoothing": -0.1}, "label_smoothing is -0.1"),
        ({"label_smoothing": 1.0}, "label_smoothing is 1.0"),
    ],
)
def test_refuses_shares_out_of_range(arguments, words):
    with pytest.raises(ValueError, match=words):
        DynamicLoss(Diagonal(), PADDING, **arguments)


MIXTURES = [(0.0, 0.0), (0.4, 0.0), (0.4, 0.1), (1.0, 0.1), (1.0, 0.0)]


@pytest.mark.parametrize(("ce_share", "smoothing"), MIXTURES)
def test_second_derivatives_by_finite_differences(batch, ce_share, smoothing):
    logits, target, coefficients = batch
    loss = DynamicLoss(Diagonal(), PADDING, ce_share, smoothing)

    def value(logits, coefficients):
        return loss(logits, target, coefficients).loss + 0.0 * coefficients.sum()

    point = (logits, coefficients.requires_grad_())
    assert torch.autograd.gradcheck(value, point)
    assert torch.autograd.gradgradcheck(value, point)


@pytest.mark.parametrize(("ce_share", "smoothing"), MIXTURES)
def test_third_derivatives_by_finite_differences(batch, ce_share, smoothing):
    logits, target, coefficients = batch
    loss = DynamicLoss(Diagonal(), PADDING, ce_share, smoothing)

    def gradient(logits, coefficients):
        value = loss(logits, target, coefficients).loss
        return torch.autograd.grad(value, logits, create_graph=True)[0] + 0.0 * coefficients.sum()

    assert torch.autograd.gradgradcheck(gradient, (logits, coefficients.requires_grad_()), fast_mode=True)


@pytest.mark.parametrize(("ce_share", "smoothing"), MIXTURES)
def test_keeps_no_copy_of_the_logits(batch, ce_share, smoothing):
    logits, target, coefficients = batch
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        DynamicLoss(Diagonal(), PADDING, ce_share, smoothing)(logits, target, coefficients)
    large = {tensor.data_ptr() for tensor in kept if tensor.numel() >= logits.numel()}
    assert large == {logits.data_ptr()}


def test_the_signature_names_the_form_and_the_shares():
    loss = DynamicLoss(Matrix(), ce_share=0.25, label_smoothing=0.1)
    assert loss.signature == {"form": "matrix", "ce_share": 0.25, "label_smoothing": 0.1}


def test_a_full_share_of_cross_entropy_reads_no_coefficients(batch):
    logits, target, _ = batch
    found = DynamicLoss(Matrix(), PADDING, ce_share=1.0)(logits, target, torch.zeros(0)).loss
    assert found.item() == pytest.approx(by_hand(logits, target, torch.zeros(7), 1.0), rel=1e-12)
    assert torch.equal(DynamicLoss(Matrix(), PADDING, ce_share=1.0)(logits, target).loss, found)


def test_coefficients_that_are_read_must_be_given(batch):
    logits, target, _ = batch
    with pytest.raises(ValueError, match="0 coefficients were given, but the form diagonal of 7 types has 7"):
        DynamicLoss(Diagonal(), PADDING, ce_share=0.5)(logits, target)


def test_extreme_logits_give_finite_gradients(batch):
    _, target, coefficients = batch
    logits = (1e4 * torch.randn(2, 4, 7)).requires_grad_()
    loss = DynamicLoss(Diagonal(), PADDING, 0.5, 0.1)(logits, target, coefficients.float()).loss
    (gradient,) = torch.autograd.grad(loss, logits, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), logits)
    assert loss.isfinite() and gradient.isfinite().all() and second.isfinite().all()
    assert not gradient[target == PADDING].any()


@pytest.mark.parametrize("ce_share", [0.0, 0.3, 1.0])
def test_the_matrix_loss_equals_the_formula(ce_share):
    torch.manual_seed(5)
    logits, labels = torch.randn(4, 3, dtype=torch.float64), [2, 0, 1, 2]
    phi = torch.randn(3, 3, dtype=torch.float64)
    total = 0.0
    for row, y in zip(logits.tolist(), labels, strict=True):
        log_p = [score - math.log(sum(math.exp(s) for s in row)) for score in row]
        inside = sum(phi[y, j].item() * log_p[j] for j in range(3))
        total += (1 - ce_share) * -1 / (1 + math.exp(-inside)) - ce_share * log_p[y]
    found = DynamicLoss(Matrix(), ce_share=ce_share)(logits, torch.tensor(labels), phi.flatten()).loss
    assert found.item() == pytest.approx(total, rel=1e-12)


def test_a_diagonal_matrix_is_the_diagonal_loss():
    torch.manual_seed(6)
    logits, labels, diagonal = torch.randn(5, 4), torch.tensor([3, 0, 1, 2, 3]), torch.rand(4)
    found = DynamicLoss(Matrix())(logits, labels, torch.diag(diagonal).flatten()).loss
    wanted = DynamicLoss(Diagonal(), padding=-1)(logits, labels, diagonal).loss
    torch.testing.assert_close(found, wanted)


def test_a_matrix_of_other_classes_is_refused():
    with pytest.raises(ValueError, match="9 coefficients were given, but the form matrix of 4 types has 16"):
        DynamicLoss(Matrix())(torch.ones(1, 4), torch.tensor([0]), torch.ones(9))
