"""Losses of embeddings and their gradients against loops over pairs and triplets, in float64."""

import math

import pytest
import torch

from fairseq_dlf.images.losses import LossInput, make_loss, metric
from fairseq_dlf.images.losses.metric import METRIC_LOSSES, SHAPES, shapes_of
from fairseq_dlf.images.losses.registry import Scores

LABELS = (0, 1, 2, 0, 1, 0, 3)
PHI = torch.tensor([0.5, 0.0, 1.5, 0.3, 0.7], dtype=torch.float64)
SHARP = torch.tensor([1.5, 4.0], dtype=torch.float64)


def given(labels=LABELS, coefficients=None):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(len(labels), 4, dtype=torch.float64, generator=generator).requires_grad_()
    return LossInput(Scores(logits, logits, logits), torch.tensor(labels), coefficients, 0, 1)


def distance(batch, i, j):
    first, second = (batch.scores.logits[place] / batch.scores.logits[place].norm() for place in (i, j))
    return (first - second).norm()


def mixed(d, phi):
    shapes = [d, d**2 / 2, (2 * d) ** 0.5, 2 * (math.e**d - 1) / (math.e**2 - 1), 2 * torch.log(1 + d) / math.log(3)]
    return sum(weight * shape for weight, shape in zip(phi, shapes, strict=True))


def plain(d, phi):
    return d


def pairs(labels, same):
    n = range(len(labels))
    return [(i, j) for i in n for j in n if i != j and (labels[i] == labels[j]) == same]


def triplets(batch, of):
    phi, found = batch.coefficients, []
    for i, j in pairs(LABELS, True):
        for k in range(len(LABELS)):
            if LABELS[k] != LABELS[i]:
                found.append((of(distance(batch, i, j), phi) - of(distance(batch, i, k), phi) + 0.2).clamp(min=0))
    return sum(found) / len(found)


def by_margin(batch, of):
    phi, boundary = batch.coefficients, of(torch.tensor(1.2, dtype=torch.float64), batch.coefficients)
    close = [(0.2 + of(distance(batch, i, j), phi) - boundary).clamp(min=0) for i, j in pairs(LABELS, True)]
    far = [(0.2 - of(distance(batch, i, j), phi) + boundary).clamp(min=0) for i, j in pairs(LABELS, False)]
    return (sum(close) / len(close) + sum(far) / len(far)) / 2


def by_focus(batch, of):
    one, two = (2.0, 10.0) if batch.coefficients is None else batch.coefficients
    total = 0.0
    for i in range(len(LABELS)):
        close = [
            torch.exp(one * (distance(batch, i, j) - 1)) for j in range(len(LABELS)) if (i, j) in pairs(LABELS, True)
        ]
        far = [
            torch.exp(-two * (distance(batch, i, j) - 1)) for j in range(len(LABELS)) if (i, j) in pairs(LABELS, False)
        ]
        for sharp, terms in ((one, close), (two, far)):
            total = total + torch.log(1 + sum(terms, torch.zeros((), dtype=torch.float64))) / sharp
    return total / len(LABELS)


@pytest.mark.parametrize(
    ("name", "wanted", "of", "phi"),
    [
        ("triplet", triplets, plain, None),
        ("margin", by_margin, plain, None),
        ("focal", by_focus, plain, None),
        ("adaptive_triplet", triplets, mixed, PHI),
        ("adaptive_margin", by_margin, mixed, PHI),
        ("adaptive_focal", by_focus, plain, SHARP),
    ],
)
def test_losses_are_those_of_loops(name, wanted, of, phi):
    batch = given(coefficients=None if phi is None else phi.clone().requires_grad_())
    of_what = [batch.scores.logits, *([] if phi is None else [batch.coefficients])]
    found, right = make_loss(name, None, METRIC_LOSSES)(batch), wanted(batch, of)
    torch.testing.assert_close(found, right, rtol=1e-10, atol=1e-12)
    grads = [torch.autograd.grad(value, of_what, retain_graph=True) for value in (found, right)]
    for mine, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-11)
        assert theirs.any()


@pytest.mark.parametrize(("name", "phi"), [("triplet", 5), ("margin", 5), ("focal", 2)])
def test_the_adaptive_losses_start_as_the_plain_ones(name, phi):
    start = torch.tensor([1.0, 0, 0, 0, 0] if phi == 5 else [2.0, 10.0], dtype=torch.float64)
    adaptive = make_loss(f"adaptive_{name}", None, METRIC_LOSSES)(given(coefficients=start))
    torch.testing.assert_close(adaptive, make_loss(name, None, METRIC_LOSSES)(given()), rtol=1e-12, atol=0)


def test_the_five_functions_increase_from_0_to_2():
    values = shapes_of(torch.linspace(0, 2, 101, dtype=torch.float64))
    assert values.shape == (101, SHAPES) and bool((values.diff(dim=0) > 0).all())
    torch.testing.assert_close(values[[0, -1]], torch.tensor([[0.0] * 5, [2.0] * 5], dtype=torch.float64))


@pytest.mark.parametrize("name", ["triplet", "margin", "focal"])
@pytest.mark.parametrize("labels", [(0, 1, 2), (1, 1), (0,)], ids=["no close pair", "no far pair", "one image"])
def test_batches_without_pairs_are_no_error(name, labels):
    batch = given(labels)
    loss = make_loss(name, None, METRIC_LOSSES)(batch)
    loss.backward()
    assert loss.isfinite() and batch.scores.logits.grad.isfinite().all()


def test_images_in_one_place_have_finite_gradients():
    batch = given((0, 0, 1))
    batch.scores.logits.data[:] = batch.scores.logits.data[0]
    make_loss("focal", None, METRIC_LOSSES)(batch).backward()
    assert batch.scores.logits.grad.isfinite().all()


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("triplet", {"margin": -0.1}, "margin is -0.1, but must"),
        ("margin", {"boundary": -1.0}, "boundary is -1.0, but must"),
        ("focal", {"negative": 0.0}, "the option negative is 0, but must be positive"),
        ("focal", {"sharpness": 1.0}, "sharpness"),
    ],
)
def test_wrong_options_are_refused(name, options, words):
    with pytest.raises(ValueError, match=words):
        make_loss(name, options, METRIC_LOSSES)(given())


def test_too_many_triplets_are_refused(monkeypatch):
    monkeypatch.setattr(metric, "MOST_IMAGES", 6)
    with pytest.raises(ValueError, match="a batch of 7 images has too many triplets: take 6 or fewer"):
        make_loss("triplet", None, METRIC_LOSSES)(given())
