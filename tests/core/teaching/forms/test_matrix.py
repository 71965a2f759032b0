"""A coefficient for every pair of classes, example by example."""

import pytest
import torch

from fairseq_dlf.core.teaching.forms import FORMS, Matrix
from fairseq_dlf.core.teaching.log_probs import log_probs


def test_the_reward_is_the_formula():
    torch.manual_seed(1)
    logits, target, phi = torch.randn(4, 3), torch.tensor([2, 0, 1, 2]), torch.randn(3, 3)
    table = torch.log_softmax(logits, -1)
    wanted = torch.stack([sum(phi[y, j] * table[place, j] for j in range(3)) for place, y in enumerate(target)])
    found = Matrix().reward(phi.flatten(), log_probs(logits, target, every=True))
    torch.testing.assert_close(found, wanted)


def test_a_uniform_share_is_that_of_each_row():
    rows = Matrix().uniform_share(0.3, 10).view(10, 10)
    diagonal, off = rows[4, 4].item(), rows[4, 5].item()
    assert 10 * off / (diagonal + 9 * off) == pytest.approx(0.3)
    torch.testing.assert_close(rows.sum(dim=1), torch.ones(10))


def test_size_and_start():
    form = FORMS.make("matrix")
    assert form == Matrix() and form.spec == "matrix" and form.size(4) == 16
    assert torch.equal(form.neutral(3).view(3, 3), torch.eye(3))
    assert form.reads_every and not form.reads_sum
