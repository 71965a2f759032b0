"""Sparse label smoothing: the formula and its minimum, extremes of p(y), wrong options."""

import math
from types import SimpleNamespace

import pytest
import torch

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.translation.students.losses.sparse_smoothing import SparseSmoothing, log_odds, smoothed
from tests.translation.students.losses.made_batches import gradients, with_batches


def criterion_of(built, **options):
    built.model.train()
    return SparseSmoothing(SimpleNamespace(**({"label_smoothing": 0.1, "sentence_avg": False} | options)), built.task)


def loss_of(logits, target, smoothing):
    return smoothed(log_odds(logits, target), smoothing, logits.size(-1))


def random_logits(*shape, seed=1):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("arch", ["lstm", "transformer"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.6])
def test_equals_the_formula_with_its_gradient(tiny, arch, smoothing):
    built = with_batches(tiny(arch, dropout=0.0))
    loss, sample_size, log = criterion_of(built, label_smoothing=smoothing).train()(built.model, built.batch)
    table = torch.log_softmax(built.model(**built.batch["net_input"])[0], dim=-1)
    wanted, nll = 0.0, 0.0
    for row, sentence in enumerate(built.batch["target"]):
        for column, word in enumerate(sentence.tolist()):
            if word != built.padding:
                p = table[row, column, word].exp()
                wanted = wanted - (1 - smoothing) * p.log() - smoothing * ((1 - p) / (table.size(-1) - 1)).log()
                nll -= p.log().item()
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-12)
    assert log["nll_loss"].item() == pytest.approx(nll, rel=1e-12)
    torch.testing.assert_close(gradients(built, loss), gradients(built, wanted), rtol=0, atol=1e-10)
    assert sample_size == built.batch["ntokens"]


@pytest.mark.parametrize("smoothing", [0.01, 0.1, 0.5])
def test_the_minimum_is_at_one_minus_epsilon(smoothing):
    p = torch.linspace(0.001, 0.999, 999, dtype=torch.float64)
    margins = torch.logit(p).requires_grad_()
    values = smoothed(margins, smoothing, 20)
    assert p[values.argmin()].item() == pytest.approx(1 - smoothing, abs=1e-9)
    (slope,) = torch.autograd.grad(values.sum(), margins)
    torch.testing.assert_close(slope, p - (1 - smoothing), rtol=0, atol=1e-12)


def test_depends_on_the_targets_probability_alone():
    first = torch.tensor([[0.6, 0.1, 0.1, 0.2]], dtype=torch.float64).log()
    second = torch.tensor([[0.6, 0.397, 0.002, 0.001]], dtype=torch.float64).log()
    losses = [loss_of(logits, torch.tensor([0]), 0.1).item() for logits in (first, second)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)
    assert losses[0] == pytest.approx(-0.9 * math.log(0.6) - 0.1 * math.log(0.4 / 3), rel=1e-12)


@pytest.mark.parametrize("smoothing", [0.1, 0.9])
def test_no_smoothing_is_cross_entropy_and_any_is_label_smoothing_of_an_even_rest(smoothing):
    """Where the other types share the rest evenly, it is label smoothing."""
    even = torch.tensor([[0.4, 0.2, 0.2, 0.2]], dtype=torch.float64).log()
    spread = torch.full((4,), smoothing / 3, dtype=torch.float64)
    spread[0] = 1 - smoothing
    assert loss_of(even, torch.tensor([0]), smoothing).item() == pytest.approx(-(spread * even).sum().item(), rel=1e-12)
    assert loss_of(even, torch.tensor([0]), 0.0).item() == pytest.approx(-math.log(0.4), rel=1e-12)


@pytest.mark.parametrize(
    ("of_target", "loss", "slope"),
    [
        (100.0, 0.1 * (200 + math.log(3) - math.log(3)), 0.1),
        (-100.0, 0.9 * (200 + math.log(3)) + 0.1 * math.log(3), -0.9),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_value_and_gradient_are_finite_for_sure_predictions(of_target, loss, slope, dtype):
    """p(y) rounds to 1, or to 0, in float32; log(1 − p(y)) is about −200."""
    logits = torch.full((1, 4), -of_target, dtype=dtype)
    logits[0, 2] = of_target
    logits.requires_grad_()
    found = loss_of(logits, torch.tensor([2]), 0.1)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(loss, rel=1e-5)
    (gradient,) = torch.autograd.grad(found.sum(), logits)
    assert gradient.dtype == dtype
    assert gradient[0, 2].item() == pytest.approx(slope, rel=1e-2)
    assert gradient.isfinite().all()


def test_log_odds_are_exact_where_p_rounds_to_one():
    logits = torch.tensor([[30.0, 0.0, 0.0]])
    assert log_odds(logits, torch.tensor([0])).item() == pytest.approx(30 - math.log(2), rel=1e-6)
    assert torch.softmax(logits, -1)[0, 0].item() == 1.0


def test_the_loss_has_two_derivatives():
    logits = random_logits(3, 5).requires_grad_()
    target = torch.tensor([0, 3, 4])
    assert torch.autograd.gradcheck(lambda z: loss_of(z, target, 0.1), logits)
    assert torch.autograd.gradgradcheck(lambda z: loss_of(z, target, 0.1), logits)


@pytest.mark.parametrize("smoothing", [1.0, -0.1, float("nan")])
def test_names_wrong_options(tiny, smoothing):
    with pytest.raises(InputError, match=r"label_smoothing is .*, but must lie in \[0, 1\) \(--label-smoothing\)"):
        criterion_of(tiny("lstm"), label_smoothing=smoothing)
