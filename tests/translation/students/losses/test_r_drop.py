"""R-Drop against a straightforward formula on replayed dropout masks, wrong options."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import kl_div

from fairseq_dlf.core.support.errors import InputError, StateError
from fairseq_dlf.translation.students.losses.r_drop import RDrop
from tests.translation.students.losses.made_batches import gradients, step, with_batches


def criterion_of(built, **options):
    cfg = {"r_drop_weight": 5.0, "label_smoothing": 0.0, "sentence_avg": False}
    built.model.train()
    return RDrop(SimpleNamespace(**(cfg | options)), built.task).train()


def straightforward(built, weight, smoothing):
    """Half of the published loss, token by token, on the next random numbers; also (CE₁ + CE₂) / 2 and the KLs."""
    doubled = {name: value.repeat_interleave(2, dim=0) for name, value in built.batch["net_input"].items()}
    table = torch.log_softmax(built.model(**doubled)[0], dim=-1)
    loss, nll, divergence = 0.0, 0.0, 0.0
    types = table.size(-1)
    for row, sentence in enumerate(built.batch["target"]):
        for column, word in enumerate(sentence.tolist()):
            if word == built.padding:
                continue
            first, second = table[2 * row, column], table[2 * row + 1, column]
            for log_probs in (first, second):
                spread = torch.full((types,), smoothing / (types - 1), dtype=torch.float64)
                spread[word] = 1 - smoothing
                loss = loss - (spread * log_probs).sum() / 2
                nll -= log_probs[word].item() / 2
            kl = kl_div(first, second, log_target=True, reduction="sum")
            kl = kl + kl_div(second, first, log_target=True, reduction="sum")
            loss = loss + weight / 4 * kl
            divergence += kl.item() / 2
    return loss, nll, divergence


@pytest.mark.parametrize("arch", ["lstm", "transformer"])
@pytest.mark.parametrize(("weight", "smoothing"), [(5.0, 0.0), (1.5, 0.1), (0.0, 0.0)])
def test_equals_the_formula_on_the_same_masks_with_its_gradient(tiny, arch, weight, smoothing):
    built = with_batches(tiny(arch))
    criterion = criterion_of(built, r_drop_weight=weight, label_smoothing=smoothing)
    torch.manual_seed(4)
    loss, sample_size, log = criterion(built.model, built.batch)
    gradient = gradients(built, loss)
    torch.manual_seed(4)
    wanted, nll, divergence = straightforward(built, weight, smoothing)
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-12)
    assert log["nll_loss"].item() == pytest.approx(nll, rel=1e-12)
    assert log["r_drop_kl"] == pytest.approx(divergence / built.batch["ntokens"], rel=1e-12)
    assert divergence > 1e-6
    torch.testing.assert_close(gradient, gradients(built, wanted), rtol=0, atol=1e-10)
    assert gradient.norm() > 0.1
    assert sample_size == built.batch["ntokens"]


def test_without_weight_and_dropout_it_is_cross_entropy_with_its_gradient(tiny):
    built = with_batches(tiny("lstm", dropout=0.0))
    criterion = criterion_of(built, r_drop_weight=0.0)
    loss, _, log = criterion(built.model, built.batch)
    wanted, _, _ = criterion.eval()(built.model, built.batch)
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-12)
    assert log["r_drop_kl"] == 0.0
    torch.testing.assert_close(gradients(built, loss), gradients(built, wanted), rtol=0, atol=1e-12)


# Mistakes ---------------------------------------------------------------------


def test_a_run_without_dropout_is_refused_at_its_first_batch(tiny):
    built = with_batches(tiny("lstm", dropout=0.0))
    with pytest.raises(StateError, match="the two passes of dlf_r_drop agree, .* train with dropout"):
        step(built, criterion_of(built), update=0)
    dropped = with_batches(tiny("lstm"))
    criterion = criterion_of(dropped)
    assert step(dropped, criterion, update=0)["r_drop_kl"] > 1e-8
    # Later batches may agree by chance.
    assert step(built, criterion, update=1)["r_drop_kl"] < 1e-12


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"r_drop_weight": -1.0}, r"r_drop_weight is -1.0, but must not be negative \(--r-drop-weight\)"),
        ({"r_drop_weight": float("inf")}, "r_drop_weight is inf"),
        ({"label_smoothing": 1.0}, r"label_smoothing is 1.0, .* \(--label-smoothing\)"),
    ],
)
def test_names_wrong_options(tiny, options, words):
    with pytest.raises(InputError, match=words):
        criterion_of(tiny("lstm"), **options)
