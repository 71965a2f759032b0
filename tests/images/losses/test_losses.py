"""Losses against straightforward versions of their formulas, in float64."""

import math

import pytest
import torch
from torch.nn import functional

from fairseq_dlf.images.losses import LOSSES, LossInput, large_margin, loss_family, make_loss
from fairseq_dlf.images.losses.registry import Scores

EXAMPLES, CLASSES, WIDTH = 7, 4, 5


def given(iteration=0, iterations=100, seed=1, scale=1.0):
    torch.manual_seed(seed)
    features = torch.randn(EXAMPLES, WIDTH, dtype=torch.float64)
    weight = scale * torch.randn(CLASSES, WIDTH, dtype=torch.float64)
    labels = torch.arange(EXAMPLES) % CLASSES
    phi = torch.randn(CLASSES, CLASSES, dtype=torch.float64).flatten()
    return LossInput(Scores(features @ weight.t(), features, weight), labels, phi, iteration, iterations)


def log_probs(scores):
    total = math.log(sum(math.exp(score) for score in scores))
    return [score - total for score in scores]


def cross_entropy(scores, y, phi):
    return -log_probs(scores)[y]


def smoothed(scores, y, phi):
    found = log_probs(scores)
    return -0.9 * found[y] - 0.1 * sum(found) / CLASSES


def smooth(scores, y, phi):
    found = log_probs(scores)
    margin = found[y] - max(found[j] for j in range(CLASSES) if j != y)
    return -math.log(1 / (1 + math.exp(-3.0 * margin)))


def constant(scores, y, phi):
    return -1 / (1 + math.exp(-0.5 * log_probs(scores)[y]))


def dlf(scores, y, phi):
    return -1 / (1 + math.exp(-sum(p * q for p, q in zip(phi[y], log_probs(scores), strict=True))))


@pytest.mark.parametrize(
    ("name", "options", "formula"),
    [
        ("cross_entropy", {}, cross_entropy),
        ("cross_entropy", {"smoothing": 0.1}, smoothed),
        ("smooth", {"sharpness": 3.0}, smooth),
        ("constant", {"scale": 0.5}, constant),
        ("dlf", {}, dlf),
    ],
)
def test_equals_the_formula(name, options, formula):
    batch = given()
    phi = batch.coefficients.view(CLASSES, CLASSES).tolist()
    rows = zip(batch.scores.logits.tolist(), batch.labels.tolist(), strict=True)
    wanted = sum(formula(scores, y, phi) for scores, y in rows) / EXAMPLES
    assert make_loss(name, options)(batch).item() == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_constant_is_dlf_with_the_identity(share):
    batch = given()
    identity = batch._replace(coefficients=torch.eye(CLASSES, dtype=torch.float64).flatten())
    found = [make_loss(name, {"ce_share": share})(identity) for name in ("constant", "dlf")]
    torch.testing.assert_close(*found)


def test_smooth_bears_scores_far_apart():
    batch = given(scale=1e3)
    assert make_loss("smooth")(batch).isfinite()


@pytest.mark.parametrize("margin", [1, 2, 3, 4])
def test_psi_is_the_widened_angle(margin):
    """Against cos mθ by the arc cosine, over all pieces."""
    angles = torch.linspace(0.01, math.pi - 0.01, 200, dtype=torch.float64)
    wanted = []
    for angle in angles.tolist():
        piece = min(int(angle * margin / math.pi), margin - 1)
        wanted.append((-1) ** piece * math.cos(margin * angle) - 2 * piece)
    found = large_margin.psi(torch.cos(angles), margin)
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64), rtol=0, atol=1e-10)
    assert bool((found.diff() < 0).all())


@pytest.mark.parametrize("margin", [1, 2, 3, 4])
def test_large_margin_is_the_formula(margin):
    batch = given(iteration=50, iterations=100)
    options = {"margin": margin, "gamma": 1e-3, "power": 3.0, "lambda_min": 0.5, "annealing": 1000.0}
    weight = max(0.5, 1000 * (1 + 1e-3 * 500) ** -3)
    total = 0.0
    for example in range(EXAMPLES):
        y, x = int(batch.labels[example]), batch.scores.features[example]
        scores = [float(row @ x) for row in batch.scores.weight]
        length = float(batch.scores.weight[y].norm() * x.norm())
        angle = math.acos(scores[y] / length)
        piece = min(int(angle * margin / math.pi), margin - 1)
        psi = (-1) ** piece * math.cos(margin * angle) - 2 * piece
        scores[y] = (weight * scores[y] + length * psi) / (1 + weight)
        total -= log_probs(scores)[y]
    found = make_loss("large_margin", options)(batch).item()
    assert found == pytest.approx(total / EXAMPLES, rel=1e-10)
    plain = functional.cross_entropy(batch.scores.logits, batch.labels).item()
    assert (abs(found - plain) < 1e-12) == (margin == 1)


@pytest.mark.parametrize(
    ("iteration", "iterations", "options", "wanted"),
    [
        (0, 50_000, {}, 1000.0),
        (10_000, 50_000, {}, 1000 * 1.25**-35),
        (500, 1_000, {}, 1000 * 1.25**-35),  # half of a short run is half of 20,000
        (10_000, 50_000, {"lambda_min": 5.0}, 5.0),
        (10_000, 50_000, large_margin.CIFAR_OPTIONS, 1000 * 1.1**-45),
    ],
)
def test_lambda_falls(iteration, iterations, options, wanted, monkeypatch):
    """λ is read off the loss: with ψ = 0, the true score is λ / (1 + λ) of what it was."""
    monkeypatch.setattr(large_margin, "psi", lambda cosine, margin: torch.zeros_like(cosine))
    batch = given(iteration, iterations)
    share = wanted / (1 + wanted)
    logits = batch.scores.logits.clone()
    logits[torch.arange(EXAMPLES), batch.labels] *= share
    found = make_loss("large_margin", options)(batch)
    torch.testing.assert_close(found, functional.cross_entropy(logits, batch.labels), rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", ["cross_entropy", "smooth", "large_margin", "constant", "dlf"])
def test_derivatives_of_first_and_second_order(name):
    batch = given(iteration=100)
    options = {"smooth": {"sharpness": 2.0}, "large_margin": {"power": 0.0, "lambda_min": 0.5}}.get(name, {})
    loss = make_loss(name, options)

    def of(features, weight, phi):
        scores = Scores(features @ weight.t(), features, weight)
        return loss(batch._replace(scores=scores, coefficients=phi))

    leaves = (batch.scores.features, batch.scores.weight, batch.coefficients)
    inputs = tuple(leaf.clone().requires_grad_(name == "dlf" or place < 2) for place, leaf in enumerate(leaves))
    assert torch.autograd.gradcheck(of, inputs)
    assert torch.autograd.gradgradcheck(of, inputs)


@pytest.mark.parametrize("margin", [1, 2, 3, 4])
@pytest.mark.parametrize("empty", ["features", "weight"])
def test_large_margin_bears_zeros(empty, margin):
    """An example of zeros, or whose class has a row of zeros, has no angle: it counts as in softmax."""
    batch = given(iteration=50)
    leaves = {name: getattr(batch.scores, name).clone() for name in ("features", "weight")}
    leaves[empty][1] = 0.0  # example 1 is of class 1
    inputs = [leaf.requires_grad_() for leaf in leaves.values()]
    scores = Scores(inputs[0] @ inputs[1].t(), *inputs)
    ones = batch._replace(scores=Scores(*(part[1:2] for part in scores[:2]), inputs[1]), labels=batch.labels[1:2])
    found = make_loss("large_margin", {"margin": margin})(ones)
    torch.testing.assert_close(found, functional.cross_entropy(ones.scores.logits, ones.labels))
    loss = make_loss("large_margin", {"margin": margin})(batch._replace(scores=scores))
    gradients = torch.autograd.grad(loss, inputs, create_graph=True)
    products = torch.autograd.grad(sum(gradient.square().sum() for gradient in gradients), inputs)
    assert all(tensor.isfinite().all() for tensor in (loss, *gradients, *products))


def test_large_margin_with_m_1_is_softmax_where_rounding_lifts_a_cosine_above_1():
    batch = given(iteration=50)
    start = (1.0 + 1e-9) * batch.scores.weight[batch.labels] @ batch.scores.weight.t()
    products = []
    for loss in (make_loss("large_margin", {"margin": 1}), make_loss("cross_entropy")):
        logits = start.clone().requires_grad_()
        scores = Scores(logits, batch.scores.weight[batch.labels], batch.scores.weight)
        (gradient,) = torch.autograd.grad(loss(batch._replace(scores=scores)), logits, create_graph=True)
        products.append((gradient.detach(), *torch.autograd.grad(gradient.square().sum(), logits)))
    torch.testing.assert_close(*products)


def test_a_newcomer_is_one_function(monkeypatch):
    monkeypatch.setattr(LOSSES, "_entries", dict(LOSSES._entries))

    @loss_family("hinge")
    def hinge(given: LossInput, *, width: float = 1.0) -> torch.Tensor:
        """hinge loss"""
        return functional.multi_margin_loss(given.scores.logits, given.labels, margin=width)

    assert LOSSES["hinge"].help == "hinge loss" and LOSSES.options("hinge") == {"width": 1.0}
    wanted = functional.multi_margin_loss(given().scores.logits, given().labels, margin=0.0)
    assert make_loss("hinge", {"width": 0.0})(given()) == LOSSES.make("hinge(width=0)")(given()) == wanted
    with pytest.raises(ValueError, match="there is a loss named hinge already"):
        loss_family("hinge")(hinge)


def test_families_say_what_they_need():
    families = {name: LOSSES[name] for name in LOSSES}
    assert {name for name, family in families.items() if family.needs_teacher} == {"dlf"}
    assert {name for name, family in families.items() if not family.head_bias} == {"large_margin"}
    assert all(family.help for family in families.values())


def test_options_are_read():
    assert LOSSES.parse_options("") == {}
    assert LOSSES.parse_options("margin=4,gamma=2.5e-5") == {"margin": 4.0, "gamma": 2.5e-5}


@pytest.mark.parametrize("text", ["margin", "margin=", "margin=four", "=4", "a=1;b=2", "a=nan", "a=inf", "a=1,a=2"])
def test_options_of_a_wrong_form_are_named(text):
    with pytest.raises(ValueError, match="wanted NAME=NUMBER"):
        LOSSES.parse_options(text)


def test_unknown_losses_options_and_margins_are_named():
    with pytest.raises(ValueError, match="no loss named 'huber': wanted one of constant, cross_entropy"):
        make_loss("huber")
    with pytest.raises(ValueError, match="the loss smooth has no option margin: its options are sharpness=50"):
        make_loss("smooth", {"margin": 2.0})
    for margin in (5, 2.5):
        with pytest.raises(ValueError, match=f"the margin is {margin}, but must be 1, 2, 3 or 4"):
            make_loss("large_margin", {"margin": margin})(given())


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("smooth", {"sharpness": 0.0}, "the sharpness is 0, but must be positive"),
        ("cross_entropy", {"smoothing": 2.0}, r"the smoothing is 2, but must lie in \[0, 1\)"),
    ],
)
def test_options_out_of_range_are_named(name, options, words):
    with pytest.raises(ValueError, match=words):
        make_loss(name, options)(given())
