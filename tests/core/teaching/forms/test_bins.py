"""Bins of types by frequency and kind."""

import pytest
import torch

from fairseq_dlf.core.teaching.forms import FORMS, Bins, TypeFacts
from fairseq_dlf.core.teaching.forms.binned import bins_of
from fairseq_dlf.core.teaching.log_probs import log_probs


def facts(counts, kinds=None):
    return TypeFacts(torch.tensor(counts), torch.tensor(kinds or [0] * len(counts)))


def test_bins_hold_the_same_share_of_the_tokens():
    # 100 tokens: the most frequent type is half of them.
    assert bins_of(Bins(number=2), facts([5.0, 50.0, 20.0, 15.0, 10.0])).tolist() == [1, 0, 1, 1, 1]
    assert bins_of(Bins(number=4), facts([5.0, 50.0, 20.0, 15.0, 10.0])).tolist() == [3, 1, 2, 3, 3]
    assert bins_of(Bins(number=1), facts([5.0, 50.0, 0.0])).tolist() == [0, 0, 0]


def test_types_that_do_not_occur_are_the_rarest():
    assert bins_of(Bins(number=3), facts([0.0, 3.0, 3.0, 3.0, 0.0])).tolist() == [2, 0, 1, 2, 2]


def test_unknown_frequencies_are_spread():
    assert bins_of(Bins(number=2), TypeFacts.alike(4)).tolist() == [0, 0, 1, 1]


def test_special_kinds_have_bins_of_their_own_only_if_asked_for():
    known = facts([8.0, 90.0, 1.0, 8.0, 7.0], [0, 3, 1, 0, 2])
    assert bins_of(Bins(number=2, kinds=1), known).tolist() == [0, 4, 2, 1, 3]
    assert bins_of(Bins(number=2), known).tolist() == [1, 0, 1, 1, 1]
    assert (Bins(number=2).size(9), Bins(number=2, kinds=1).size(9)) == (4, 10)


def test_the_reward_is_that_of_the_bin():
    torch.manual_seed(1)
    logits, target, phi = torch.randn(5, 4), torch.tensor([2, 0, 1, 3, 3]), torch.randn(4)
    form = FORMS.make("bins(number=2)").fitted(facts([9.0, 1.0, 8.0, 2.0]))
    place = torch.tensor([0, 1, 1, 1])
    table = torch.log_softmax(logits, -1)
    wanted = [phi[place[y]] * table[i, y] + phi[2 + place[y]] * table[i].mean() for i, y in enumerate(target)]
    torch.testing.assert_close(form.reward(phi, log_probs(logits, target, summed=True)), torch.stack(wanted))


def test_bins_of_unknown_types_are_refused():
    seen = log_probs(torch.randn(2, 4), torch.tensor([0, 3]), summed=True)
    with pytest.raises(RuntimeError, match="form bins does not know the target types: fit it to them first"):
        Bins().reward(torch.ones(16), seen)


def test_bins_and_networks_are_portable_and_others_are_not():
    portable = {name for name in FORMS if FORMS[name].portable}
    assert portable == {"bins", "loss_network", "shares", "token_network"}


@pytest.mark.parametrize("spec", ["bins(number=2)", "shares(number=2)"])
def test_tallies_are_those_of_the_tokens_of_a_bin(spec):
    torch.manual_seed(1)
    logits, target = torch.randn(5, 4, dtype=torch.float64), torch.tensor([2, 0, 1, 3, 3])
    form = FORMS.make(spec).fitted(facts([9.0, 1.0, 8.0, 2.0]))
    place, table = [0, 1, 1, 1], torch.log_softmax(logits, -1)
    sums, tokens = [0.0] * form.size(4), [0.0] * form.size(4)
    for i, y in enumerate(target.tolist()):
        sums[place[y]] -= float(table[i, y])
        tokens[place[y]] += 1
        if form.name == "bins":
            sums[2 + place[y]] -= float(table[i].mean())
            tokens[2 + place[y]] += 1
    found = form.tallies(log_probs(logits, target, summed=True))
    torch.testing.assert_close(found[0], torch.tensor(sums, dtype=torch.float64), rtol=0, atol=1e-10)
    assert found[1].tolist() == tokens


def test_forms_with_bins_have_tallies_and_others_say_that_they_have_none():
    assert {name for name in FORMS if FORMS[name].tallied} == {"bins", "shares"}
    with pytest.raises(NotImplementedError, match="the form diagonal has no statistics of its coefficients"):
        FORMS.make("diagonal").tallies(log_probs(torch.randn(2, 4), torch.tensor([0, 3])))
