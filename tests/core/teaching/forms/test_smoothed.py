"""A target and a uniform rest, and what they are as label smoothing."""

import pytest
import torch
from torch.nn import functional

from fairseq_dlf.core.teaching.forms import FORMS, Smoothed, SparseSmoothed, TypeFacts
from fairseq_dlf.core.teaching.log_probs import log_probs
from fairseq_dlf.core.teaching.loss import DynamicLoss

TYPES = 6


@pytest.fixture
def batch():
    torch.manual_seed(1)
    return 3 * torch.randn(8, TYPES, dtype=torch.float64), torch.tensor([2, 0, 1, 2, 5, 3, 1, 1])


def test_the_reward_is_the_formula(batch):
    (logits, target), phi = batch, torch.randn(2 * TYPES, dtype=torch.float64)
    table = torch.log_softmax(logits, -1)
    wanted = [phi[y] * table[i, y] + phi[TYPES + y] * table[i].sum() / TYPES for i, y in enumerate(target)]
    found = Smoothed().reward(phi, log_probs(logits, target, summed=True))
    torch.testing.assert_close(found, torch.stack(wanted))


@pytest.mark.parametrize("name", ["smoothed", "bins", "shares"])
def test_its_start_is_the_label_smoothing_of_fairseq(batch, name):
    """fairseq spreads ε over all types but the target."""
    form = FORMS.make(f"{name}(linear=1,start=0.3)").fitted(TypeFacts.alike(TYPES))
    found = DynamicLoss(form)(*batch, form.neutral(TYPES).double()).loss
    each = 0.3 / (TYPES - 1)
    table = -torch.log_softmax(batch[0], -1)
    nll = table.gather(1, batch[1].unsqueeze(1)).squeeze(1)
    wanted = ((1 - 0.3 - each) * nll + each * table.sum(-1)).sum()
    assert found.item() == pytest.approx(wanted.item(), rel=1e-6)
    # torch spreads ε over all types.
    other = functional.cross_entropy(*batch, reduction="sum", label_smoothing=0.3 * TYPES / (TYPES - 1))
    assert found.item() == pytest.approx(other.item(), rel=1e-6)


def test_the_sparse_reward_is_the_formula(batch):
    (logits, target), phi = batch, torch.randn(2 * TYPES, dtype=torch.float64)
    p = torch.softmax(logits, -1)[range(8), target]
    wanted = phi[target] * p.log() + phi[TYPES + target] * ((1 - p) / (TYPES - 1)).log()
    torch.testing.assert_close(SparseSmoothed().reward(phi, log_probs(logits, target)), wanted)


@pytest.mark.parametrize("start", [0.1, 0.4])
def test_the_sparse_reward_is_greatest_where_a_is_its_share(start):
    form, phi = SparseSmoothed(start=start), SparseSmoothed(start=start).neutral(TYPES)
    logits = torch.linspace(-6, 9, 3001).unsqueeze(1) * torch.eye(TYPES)[0]
    rewards = form.reward(phi, log_probs(logits, torch.zeros(3001, dtype=torch.int64)))
    p = torch.softmax(logits, -1)[:, 0]
    assert p[rewards.argmax()].item() == pytest.approx(1 - start, abs=0.002)


def test_the_sparse_reward_is_finite_where_p_rounds_to_one():
    logits = torch.tensor([[90.0, 0.0, 0.0, 0.0, 0.0, 0.0]], requires_grad=True)
    reward = SparseSmoothed().reward(torch.full((12,), 0.5), log_probs(logits, torch.tensor([0])))
    assert reward.isfinite().all()
    assert torch.autograd.grad(reward.sum(), logits)[0].isfinite().all()


def test_padding_counts_nothing(batch):
    logits, target = batch
    for name in FORMS:
        form = FORMS.make(f"{name}(linear=1)").fitted(TypeFacts.alike(TYPES))
        phi = torch.rand(form.size(TYPES), dtype=torch.float64)
        whole = DynamicLoss(form, padding=1)(logits, target, phi)
        kept = DynamicLoss(form)(logits[target != 1], target[target != 1], phi)
        torch.testing.assert_close(whole, kept)
