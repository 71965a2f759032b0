"""One coefficient a type, token by token."""

import torch

from fairseq_dlf.core.teaching.forms import FORMS, Diagonal
from fairseq_dlf.core.teaching.log_probs import log_probs


def test_the_reward_is_the_formula():
    torch.manual_seed(1)
    logits, target, phi = torch.randn(4, 3), torch.tensor([2, 0, 1, 2]), torch.randn(3)
    table = torch.log_softmax(logits, -1)
    wanted = torch.stack([phi[y] * table[place, y] for place, y in enumerate(target)])
    torch.testing.assert_close(Diagonal().reward(phi, log_probs(logits, target)), wanted)


def test_size_and_start():
    form = FORMS.make("diagonal")
    assert form == Diagonal() and form.spec == "diagonal" and form.size(7) == 7
    assert form.neutral(3).tolist() == [1.0, 1.0, 1.0]
    assert not form.reads_sum and not form.reads_every
