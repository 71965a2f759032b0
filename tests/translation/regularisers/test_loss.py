"""The loss with regularisers: linear in their weights, equal to the criterions that it generalises, its vector."""

import pytest
import torch

from fairseq_dlf.core.support.errors import InputError, StateError
from fairseq_dlf.core.teaching.forms import FORMS
from fairseq_dlf.core.teaching.forms.types import TypeFacts
from fairseq_dlf.core.teaching.loss import DynamicLoss
from fairseq_dlf.translation.regularisers import REGULARISERS, Predictions, RegularisedLoss
from fairseq_dlf.translation.regularisers.passes import symmetric_divergence
from fairseq_dlf.translation.students.losses.self_distillation import softened

ROWS, TOKENS, TYPES, PADDING = 3, 4, 7, 1
TARGET = torch.tensor([[4, 2, 1, 1], [0, 3, 5, 2], [6, 2, 1, 1]])
REAL = TARGET != PADDING


def loss_of(names="", form="diagonal", **options) -> RegularisedLoss:
    fitted = FORMS.make(form).fitted(TypeFacts(torch.arange(TYPES).double(), torch.zeros(TYPES, dtype=torch.int64)))
    return RegularisedLoss(DynamicLoss(fitted, PADDING, **options), REGULARISERS.make_each(names))


def made(loss, seed=1):
    """Logits, coefficients with positive weights, and a past self."""
    draw = torch.Generator().manual_seed(seed)
    passes = 2 if loss.reads_two_passes else 1
    logits = torch.randn(passes * ROWS, TOKENS, TYPES, dtype=torch.float64, generator=draw)
    coefficients = torch.rand(loss.size(TYPES), dtype=torch.float64, generator=draw)
    past = torch.softmax(torch.randn(ROWS, TOKENS, TYPES, dtype=torch.float64, generator=draw), -1)
    return logits, coefficients, past if loss.reads_past else None


def test_without_regularisers_it_is_the_dynamic_loss_to_the_bit():
    loss = loss_of(ce_share=0.3, label_smoothing=0.1)
    logits, coefficients, _ = made(loss)
    found, wanted = loss(logits, TARGET, coefficients), loss.dynamic(logits, TARGET, coefficients)
    assert torch.equal(found.loss, wanted.loss) and torch.equal(found.nll_nats, wanted.nll_nats)
    assert found.penalties == () and loss.signature == loss.dynamic.signature and loss.spec == ""
    full = loss_of(ce_share=1.0)
    assert torch.equal(full(logits, TARGET).loss, full.dynamic(logits, TARGET).loss)


@pytest.mark.parametrize(
    "names", ["r_drop", "label_smoothing", "self_distillation", "self_distillation,r_drop,label_smoothing"]
)
@pytest.mark.parametrize("form", ["diagonal", "bins(number=2,linear=1)"])
def test_it_is_the_mean_over_passes_and_each_weight_times_its_sum_over_real_tokens(names, form):
    loss = loss_of(names, form, ce_share=0.2)
    logits, coefficients, past = made(loss)
    passes = 2 if "r_drop" in names else 1
    phi, weights = coefficients[: loss.form.size(TYPES)], coefficients[loss.form.size(TYPES) :]
    each = [loss.dynamic(logits[number::passes], TARGET, phi) for number in range(passes)]
    penalties = [
        regulariser.of_tokens(Predictions(logits, TARGET, past))[REAL].sum() for regulariser in loss.regularisers
    ]
    wanted = sum(found.loss for found in each) / passes + sum(w * p for w, p in zip(weights, penalties, strict=True))
    found = loss(logits, TARGET, coefficients, past)
    torch.testing.assert_close(found.loss, wanted, rtol=1e-12, atol=0)
    torch.testing.assert_close(found.nll_nats, sum(one.nll_nats for one in each) / passes, rtol=1e-12, atol=0)
    torch.testing.assert_close(torch.stack(list(found.penalties)), torch.stack(penalties), rtol=1e-12, atol=0)


def test_the_slopes_in_the_weights_are_the_penalties():
    loss = loss_of("r_drop,self_distillation,label_smoothing")
    logits, coefficients, past = made(loss)
    coefficients.requires_grad_()
    found = loss(logits, TARGET, coefficients, past)
    (slopes,) = torch.autograd.grad(found.loss, coefficients)
    torch.testing.assert_close(loss.split(slopes)[1], torch.stack(list(found.penalties)), rtol=1e-12, atol=0)
    assert not any(penalty.requires_grad for penalty in found.penalties)


def test_padding_has_no_influence():
    loss = loss_of("self_distillation,label_smoothing")
    logits, coefficients, past = made(loss)
    wanted = loss(logits, TARGET, coefficients, past).loss
    logits[~REAL] += 3.0
    past[~REAL] = 1 / TYPES
    assert loss(logits, TARGET, coefficients, past).loss == wanted


# What it generalises --------------------------------------------------------------

PLAIN = "bins(number=1,linear=1)"  # cross-entropy, with Φ = (1, 0)


def with_weight(loss, weight):
    return torch.cat([loss.form.neutral(TYPES).double(), torch.tensor([weight], dtype=torch.float64)])


def test_r_drop_beside_cross_entropy_has_the_weight_of_its_criterion():
    loss = loss_of("r_drop", PLAIN)
    logits, _, _ = made(loss)
    cross_entropy = DynamicLoss(loss.form, PADDING, ce_share=1.0)
    wanted = 0.5 * cross_entropy(logits, TARGET.repeat_interleave(2, dim=0)).loss
    wanted = wanted + 0.25 * 5.0 * symmetric_divergence(logits)[REAL].sum()
    torch.testing.assert_close(loss(logits, TARGET, with_weight(loss, 5.0)).loss, wanted, rtol=1e-12, atol=0)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_label_smoothing_beside_cross_entropy_is_fairseqs_up_to_a_factor(share):
    loss, weight = loss_of("label_smoothing", PLAIN), share / (1 - share)
    logits, _, _ = made(loss)
    smoothed = DynamicLoss(loss.form, PADDING, ce_share=1.0, label_smoothing=share * (TYPES - 1) / TYPES)
    wanted = (1 + weight) * smoothed(logits, TARGET).loss
    torch.testing.assert_close(loss(logits, TARGET, with_weight(loss, weight)).loss, wanted, rtol=1e-12, atol=0)


def test_self_distillation_beside_cross_entropy_has_the_gradient_of_soft_targets():
    share = 0.4
    loss, weight = loss_of("self_distillation", PLAIN), share / (1 - share)
    logits, _, past = made(loss)
    logits.requires_grad_()
    wanted, _ = softened(logits[REAL], TARGET[REAL], past[REAL], share)
    found = loss(logits, TARGET, with_weight(loss, weight), past).loss
    gradients = [torch.autograd.grad(each, logits)[0] for each in (found, (1 + weight) * wanted)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)


# The vector -----------------------------------------------------------------------


def test_the_vector_is_phi_and_behind_it_the_weights():
    loss = loss_of("r_drop(start=0.3),label_smoothing", "bins(number=2,linear=1)")
    assert loss.size(TYPES) == 6
    start = loss.start(TYPES, scale=0.5)
    assert start.dtype == torch.float32
    assert start.tolist() == pytest.approx([0.5, 0.5, 0.0, 0.0, 0.3, 0.0])
    assert start[4] == torch.tensor(0.3)
    phi, weights = loss.split(torch.arange(12).view(2, 6))
    assert phi.tolist() == [[0, 1, 2, 3], [6, 7, 8, 9]] and weights.tolist() == [[4, 5], [10, 11]]
    assert loss.weights(torch.arange(6.0)) == {"w_r_drop": 4.0, "w_label_smoothing": 5.0}
    low, high = loss.bounds(TYPES)
    infinity = float("inf")
    assert low.tolist() == [-infinity] * 4 + [0.0, 0.0] and high.tolist() == [infinity] * 6
    assert loss.signature["regularisers"] == "r_drop(start=0.3),label_smoothing"


@pytest.mark.parametrize("given", [None, torch.ones(7), torch.ones(9)])
def test_a_vector_of_another_length_is_named(given):
    loss = loss_of("r_drop")
    logits, *_ = made(loss)
    number = 0 if given is None else len(given)
    with pytest.raises(InputError, match=f"{number} coefficients were given, .* of 7 types .* of r_drop has 8: pass"):
        loss(logits, TARGET, given)


def test_the_student_is_called_once_on_a_batch_twice_as_large_where_passes_are_compared():
    calls = []

    def forward(**given):
        calls.append(given)
        return torch.zeros(len(given["src_tokens"]), 1, 1), None

    for names, rows in (("label_smoothing", [1, 2]), ("label_smoothing,r_drop", [1, 1, 2, 2])):
        loss_of(names).logits(forward, {"src_tokens": torch.tensor([1, 2])})
        assert calls.pop()["src_tokens"].tolist() == rows and not calls


def test_regularisers_without_effect_are_refused():
    loss = loss_of("label_smoothing,r_drop")
    loss.require_effect([0.0, 1.0])
    with pytest.raises(StateError, match="r_drop agree"):
        loss.require_effect([1.0, 0.0])
