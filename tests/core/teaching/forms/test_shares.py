"""The share of a uniform target, one number for each bin."""

import torch

from fairseq_dlf.core.teaching.forms import FORMS, TypeFacts
from fairseq_dlf.core.teaching.log_probs import log_probs


def test_the_reward_is_that_of_the_share_of_the_bin():
    torch.manual_seed(1)
    logits, target = torch.randn(5, 4), torch.tensor([2, 0, 1, 3, 3])
    share = torch.tensor([0.2, 0.9])
    form = FORMS.make("shares(number=2)").fitted(
        TypeFacts(torch.tensor([9.0, 1.0, 8.0, 2.0]), torch.zeros(4, dtype=torch.int64))
    )
    place, table = torch.tensor([0, 1, 1, 1]), torch.log_softmax(logits, -1)
    wanted = [
        (1 - share[place[y]]) * table[i, y] + share[place[y]] * table[i].mean() for i, y in enumerate(target.tolist())
    ]
    torch.testing.assert_close(form.reward(share, log_probs(logits, target, summed=True)), torch.stack(wanted))


def test_there_is_one_share_unless_more_bins_are_asked_for():
    assert FORMS.make("shares").size(9) == 1
    assert FORMS.make("shares(number=3,kinds=1)").size(9) == 6


def test_a_share_lies_between_nothing_and_all():
    assert FORMS.make("shares").bounds(9) == (0.0, 1.0)
    infinity = float("inf")
    assert all(FORMS.make(name).bounds(9) == (-infinity, infinity) for name in FORMS if name != "shares")


def test_a_weight_cannot_be_said_in_shares():
    assert FORMS.make("shares").uniform_share(0.3, 9, weight=0.5) is None
    assert FORMS.make("shares").uniform_share(0.3, 9).tolist() == [torch.tensor(0.3).item()]
