"""What every form promises."""

import pytest
import torch

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.teaching.forms import FORMS, TypeFacts
from fairseq_dlf.core.teaching.log_probs import log_probs


@pytest.fixture
def batch():
    torch.manual_seed(2)
    return torch.randn(5, 4, dtype=torch.float64, requires_grad=True), torch.tensor([0, 3, 1, 1, 2])


# Networks of few weights, since a numerical derivative takes two evaluations for each.
OPTIONS = {"loss_network": "width=3,depth=2", "token_network": "width=3,depth=1"}


def seen(form, logits, target):
    return log_probs(logits, target, summed=form.reads_sum, every=form.reads_every)


def fitted(name, *options):
    given = ",".join(filter(None, (OPTIONS.get(name), *options)))
    facts = TypeFacts(torch.tensor([4.0, 1.0, 3.0, 2.0]), torch.tensor([0, 1, 0, 0]))
    return FORMS.make(f"{name}({given})").fitted(facts)


@pytest.mark.parametrize("name", [name for name in FORMS if FORMS[name].starts_neutral])
def test_the_neutral_reward_is_the_log_probability(batch, name):
    form = fitted(name)
    neutral = form.neutral(4)
    assert neutral.shape == (form.size(4),) and neutral.dtype == torch.float32
    table = torch.log_softmax(batch[0], -1).gather(1, batch[1].unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(form.reward(neutral.double(), seen(form, *batch)), table)
    assert torch.equal(form.start_times(0.5, 4), 0.5 * neutral)


def test_a_start_that_is_not_neutral_has_no_multiples():
    assert {name for name in FORMS if not FORMS[name].starts_neutral} == {"loss_network"}
    form = FORMS.make("loss_network")
    assert torch.equal(form.start_times(1.0, 4), form.neutral(4))
    words = "the form loss_network starts at random, so that 0.5 times its start .*: leave the factor at 1"
    with pytest.raises(InputError, match=words) as caught:
        form.start_times(0.5, 4)
    assert caught.value.setting == "phi_start"


@pytest.mark.parametrize("name", FORMS)
def test_the_reward_has_second_derivatives_in_both(batch, name):
    form, (logits, target) = fitted(name), batch
    phi = torch.randn(form.size(4), dtype=torch.float64, requires_grad=True)

    def value(phi, logits):
        return form.reward(phi, seen(form, logits, target))

    assert torch.autograd.gradgradcheck(value, (phi, logits))


@pytest.mark.parametrize("name", FORMS)
def test_a_form_is_made_again_from_its_spec(name):
    form = FORMS.make(name)
    assert FORMS.make(form.spec) == form
    assert hash(form) == hash(FORMS.make(form.spec))
    assert form.fitted(TypeFacts.alike(4)).spec == form.spec == name


def test_options_are_in_the_spec():
    assert FORMS.make("smoothed(start=0.25,linear=1)").spec == "smoothed(linear=1,start=0.25)"
    spec = "bins(linear=1,number=2,kinds=1,start=0.25)"
    made = FORMS.make(spec).fitted(TypeFacts.alike(5))
    assert made.spec == spec and made.options == {"linear": 1, "number": 2, "kinds": 1, "start": 0.25}


@pytest.mark.parametrize("name", FORMS)
def test_losses_are_minus_the_reward_or_minus_its_sigmoid(batch, name):
    form = fitted(name, "linear=0")
    phi = torch.randn(form.size(4), dtype=torch.float64)
    reward = form.reward(phi, seen(form, *batch))
    torch.testing.assert_close(form.losses(phi, seen(form, *batch)), -torch.sigmoid(reward))
    linear = fitted(name, "linear=1")
    torch.testing.assert_close(linear.losses(phi, seen(linear, *batch)), -reward)


@pytest.mark.parametrize("name", FORMS)
def test_a_uniform_share_is_its_formula_or_nothing(batch, name):
    form, (logits, target) = fitted(name), batch
    assert (form.uniform_share(0.3, 4) is None) == (name in ("diagonal", "loss_network", "sparse_smoothed"))
    for weight in (1.0, 0.5):
        phi = form.uniform_share(0.3, 4, weight)
        if phi is None:
            continue
        assert phi.shape == (form.size(4),) and phi.dtype == torch.float32
        table = torch.log_softmax(logits, -1)
        wanted = weight * (0.7 * table[range(5), target] + 0.3 * table.mean(-1))
        torch.testing.assert_close(form.reward(phi.double(), seen(form, *batch)), wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("diagonal(linear=2)", "option linear of the form is 2, but must be 0 or 1"),
        ("smoothed(start=1)", r"option start of the form is 1, but must lie in \[0, 1\)"),
        ("sparse_smoothed(start=-0.1)", "option start of the form is -0.1"),
        ("bins(number=0)", "option number of the form is 0, but must be at least 1"),
        ("bins(kinds=2)", "option kinds of the form is 2"),
        ("shares(start=1)", r"option start of the form is 1, but must lie in \[0, 1\)"),
        ("loss_network(width=0)", "option width of the form is 0, but must be a whole number of at least 1"),
        ("loss_network(depth=1.5)", "option depth of the form is 1.5, but must be a whole number"),
        ("token_network(seed=-1)", "option seed of the form is -1, but must be a whole number of at least 0"),
        ("token_network(start=1)", r"option start of the form is 1, but must lie in \[0, 1\)"),
        ("bins(n=2)", "the form bins has no option n: its options are linear=0, number=8, kinds=0, start=0"),
    ],
)
def test_options_are_checked(spec, words):
    with pytest.raises(InputError, match=words):
        FORMS.make(spec)
