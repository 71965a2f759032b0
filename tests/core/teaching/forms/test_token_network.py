"""The network on figures of each token, against a version in plain Python."""

import math

import pytest
import torch

from fairseq_dlf.core.teaching.forms import FORMS, Smoothed, TokenNetwork
from fairseq_dlf.core.teaching.log_probs import log_probs
from fairseq_dlf.core.teaching.loss import DynamicLoss


def seen(logits, target):
    return log_probs(logits, target, summed=True, every=True)


def by_hand(form, phi, logits, target):
    """The reward of each token."""
    rewards = []
    for scores, y in zip(logits, target, strict=True):
        types, total = len(scores), math.log(sum(math.exp(z) for z in scores))
        log_p = [z - total for z in scores]
        mean, entropy = sum(log_p) / types, -sum(math.exp(each) * each for each in log_p)
        largest = max(each for j, each in enumerate(log_p) if j != y)
        row = [each / math.log(types) for each in (log_p[y], largest, entropy, mean)] + [1.0]
        place = 2
        for number, (outputs, inputs) in enumerate(form.shapes):
            layer = [phi[place + inputs * i : place + inputs * (i + 1)] for i in range(outputs)]
            row = [sum(w * x for w, x in zip(weights, row, strict=True)) for weights in layer]
            row = [math.tanh(x) for x in row] if number < len(form.shapes) - 1 else row
            place += outputs * inputs
        rewards.append(phi[0] * log_p[y] + phi[1] * mean + row[0])
    return rewards


def test_the_reward_is_a_network_beside_smoothing():
    torch.manual_seed(1)
    logits, target = 3 * torch.randn(6, 5, dtype=torch.float64), torch.tensor([2, 0, 1, 4, 3, 3])
    for form in (TokenNetwork(), TokenNetwork(width=3, depth=1)):
        phi = torch.randn(form.size(5), dtype=torch.float64)
        wanted = by_hand(form, phi.tolist(), logits.tolist(), target.tolist())
        found = form.reward(phi, seen(logits, target))
        torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_a_few_hundred_weights_fit_any_dictionary():
    form = FORMS.make("token_network")
    assert form.size(10) == form.size(25_000) == 2 + 5 * 16 + 16 * 16 + 16
    assert FORMS.make("token_network(width=8,depth=1)").size(10) == 2 + 5 * 8 + 8
    assert torch.equal(form.neutral(10), form.neutral(25_000))


@pytest.mark.parametrize("spec", ["token_network", "token_network(start=0.1,linear=1)"])
def test_it_starts_as_label_smoothing_and_every_layer_can_learn(spec):
    torch.manual_seed(1)
    logits, target = torch.randn(6, 5, dtype=torch.float64), torch.tensor([2, 0, 1, 4, 3, 3])
    form = FORMS.make(spec)
    smoothed = Smoothed(linear=form.linear, start=form.start)
    phi = form.neutral(5).double()
    wanted = smoothed.losses(smoothed.neutral(5).double(), seen(logits, target))
    torch.testing.assert_close(form.losses(phi, seen(logits, target)), wanted)

    def slope(phi):
        leaf = phi.requires_grad_()
        return torch.autograd.grad(form.reward(leaf, seen(logits, target)).sum(), leaf)[0]

    first = slope(phi.clone())
    # The last layer learns first, and the others as soon as it is not 0.
    assert first[:2].all() and first[-16:].all() and not first[2:-16].any()
    moved = slope((phi + 0.1 * first).detach())
    assert (moved[2:] != 0).float().mean() == 1.0


def test_extreme_predictions_have_finite_derivatives():
    logits = torch.tensor([[900.0, 0.0, 0.0], [-900.0, 0.0, 900.0]], requires_grad=True)
    form = TokenNetwork(linear=1)
    phi = torch.randn(form.size(3), generator=torch.Generator().manual_seed(1)).requires_grad_()
    loss = DynamicLoss(form)(logits, torch.tensor([0, 0]), phi).loss
    gradient = torch.cat([each.flatten() for each in torch.autograd.grad(loss, (logits, phi), create_graph=True)])
    again = torch.autograd.grad(gradient.square().sum(), (logits, phi))
    assert loss.isfinite() and gradient.isfinite().all() and all(each.isfinite().all() for each in again)
