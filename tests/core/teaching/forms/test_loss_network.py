"""The loss network on pairs of classes, against a version in plain Python."""

import math

import torch

from fairseq_dlf.core.hypergradient.probe import kinks_of
from fairseq_dlf.core.hypergradient.student import Point, Student
from fairseq_dlf.core.teaching.forms import FORMS, LossNetwork
from fairseq_dlf.core.teaching.log_probs import log_probs
from fairseq_dlf.core.teaching.loss import DynamicLoss


def by_hand(form, coefficients, logits, target):
    """The loss of each example: the mean over all pairs, of which that of y with itself is a row of zeros."""

    def network(row):
        place = 0
        for number, (outputs, inputs) in enumerate(form.shapes):
            layer = [coefficients[place + inputs * i : place + inputs * (i + 1)] for i in range(outputs)]
            row = [sum(w * x for w, x in zip(weights, row, strict=True)) for weights in layer]
            if number < len(form.shapes) - 1:
                row = [x if x > 0 else 0.01 * x for x in row]
            place += outputs * inputs
        return row[0]

    losses = []
    for scores, y in zip(logits, target, strict=True):
        squashed = [1 / (1 + math.exp(-z)) for z in scores]
        rows = [[0.0] * 4 if j == y else [squashed[y], squashed[j], 1.0, 0.0] for j in range(len(scores))]
        losses.append(sum(map(network, rows)) / len(scores))
    return losses


def test_the_loss_is_the_mean_of_the_network_over_pairs():
    torch.manual_seed(1)
    logits, target = 3 * torch.randn(5, 4, dtype=torch.float64), torch.tensor([2, 0, 1, 3, 3])
    for form in (LossNetwork(width=5, depth=3), LossNetwork(width=2, depth=1)):
        phi = torch.randn(form.size(4), dtype=torch.float64)
        wanted = by_hand(form, phi.tolist(), logits.tolist(), target.tolist())
        found = form.losses(phi, log_probs(logits, target))
        torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64), rtol=1e-12, atol=1e-12)
        whole = DynamicLoss(form)(logits, target, phi)
        assert math.isclose(whole.loss.item(), sum(wanted), rel_tol=1e-12)


def test_the_network_has_the_published_size_whatever_the_classes():
    form = FORMS.make("loss_network")
    assert form.shapes == [(40, 4), (40, 40), (40, 40), (40, 40), (1, 40)]
    assert form.size(3) == form.size(1000) == 5000


def test_it_starts_from_the_same_weights_wherever_it_is_made():
    torch.manual_seed(1)
    start = FORMS.make("loss_network").neutral(10)
    torch.manual_seed(2)
    again = FORMS.make("loss_network").neutral(100)
    assert torch.equal(start, again) and start.dtype == torch.float32
    other = FORMS.make("loss_network(seed=12345678)")
    assert other.spec == "loss_network(seed=12345678)" and not torch.equal(other.neutral(10), start)
    first, last = start[:160], start[-40:]
    # Kaiming by outputs: √(2 / 40) in the hidden layers, √2 in the last.
    assert abs(start[160:-40].std() / (2 / 40) ** 0.5 - 1) < 0.03
    assert abs(first.std() / (2 / 40) ** 0.5 - 1) < 0.15 and abs(last.std() / 2**0.5 - 1) < 0.3


def test_the_constant_zero_has_no_effect_and_all_else_has():
    """A pair of y with itself adds nothing, not even to the derivative at the kink of leaky ReLU."""
    form, target = LossNetwork(width=3, depth=1), torch.tensor([0, 2])
    phi = torch.ones(form.size(3), dtype=torch.float64, requires_grad=True)
    logits = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    of_phi, of_logits = torch.autograd.grad(form.losses(phi, log_probs(logits, target)).sum(), (phi, logits))
    hidden, last = of_phi[:12].view(3, 4), of_phi[12:]
    # Two of three pairs, both of (½, ½, 1, 0), for each of two examples.
    torch.testing.assert_close(hidden, torch.tensor([2 / 3, 2 / 3, 4 / 3, 0]).double().expand(3, 4))
    torch.testing.assert_close(last, torch.full((3,), 4 / 3 * 2).double())
    torch.testing.assert_close(of_logits[0], torch.tensor([0.5, 0.25, 0.25]).double())


def test_half_precision_is_computed_in_float32():
    logits, target = torch.randn(4, 3).half(), torch.tensor([0, 1, 2, 0])
    form = LossNetwork(width=4, depth=2)
    found = DynamicLoss(form)(logits, target, form.neutral(3)).loss
    assert found.dtype == torch.float32
    assert torch.equal(found, DynamicLoss(form)(logits.float(), target, form.neutral(3)).loss)


def test_differences_of_gradients_are_warned_of_its_kinks():
    module = torch.nn.Linear(2, 3)

    def kinks(spec):
        form = FORMS.make(spec)

        def objective(forward, coefficients, batch):
            return DynamicLoss(form)(forward(batch), torch.tensor([0, 2]), coefficients).loss

        student = Student(module, objective)
        return kinks_of(student, Point(student.flat_params(), form.neutral(3), torch.randn(2, 2), 0))

    assert kinks("loss_network") == ["leaky_relu"]
    assert kinks("token_network") == ["max"]
    assert kinks("matrix") == []
