"""What every form promises."""

import pytest
import torch

from fairseq_dlf.core.teaching.forms import FORMS
from fairseq_dlf.core.teaching.log_probs import log_probs


@pytest.fixture
def batch():
    torch.manual_seed(2)
    return torch.randn(5, 4, dtype=torch.float64, requires_grad=True), torch.tensor([0, 3, 1, 1, 2])


def seen(form, logits, target):
    return log_probs(logits, target, summed=form.reads_sum, every=form.reads_every)


@pytest.mark.parametrize("name", FORMS)
def test_the_neutral_reward_is_the_log_probability(batch, name):
    form = FORMS.make(name)
    neutral = form.neutral(4)
    assert neutral.shape == (form.size(4),) and neutral.dtype == torch.float32
    table = torch.log_softmax(batch[0], -1).gather(1, batch[1].unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(form.reward(neutral.double(), seen(form, *batch)), table)


@pytest.mark.parametrize("name", FORMS)
def test_the_reward_has_second_derivatives_in_both(batch, name):
    form, (logits, target) = FORMS.make(name), batch
    phi = torch.randn(form.size(4), dtype=torch.float64, requires_grad=True)

    def value(phi, logits):
        return form.reward(phi, seen(form, logits, target))

    assert torch.autograd.gradgradcheck(value, (phi, logits))


@pytest.mark.parametrize("name", FORMS)
def test_a_form_is_made_again_from_its_spec(name):
    form = FORMS.make(name)
    assert FORMS.make(form.spec) == form
    assert hash(form) == hash(FORMS.make(form.spec))
