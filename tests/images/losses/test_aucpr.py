"""Losses of one-against-rest problems and their gradients against loops over images and classes, in float64."""

import math

import pytest
import torch

from fairseq_dlf.images.losses import LossInput, make_loss
from fairseq_dlf.images.losses.aucpr import AUCPR_LOSSES, anchored_loss, anchored_precisions
from fairseq_dlf.images.losses.registry import Scores

IMAGES, CLASSES, ANCHORS = 9, 4, 3


def randoms(*shape, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def given(of_loss=None, coefficients=None, labels=None):
    logits = (3 * randoms(IMAGES, CLASSES)).requires_grad_()
    # No image of the last class.
    labels = torch.tensor([0, 1, 2, 0, 0, 1, 2, 0, 1]) if labels is None else labels
    return LossInput(Scores(logits, logits, logits, of_loss), labels, coefficients, 0, 1)


def softplus(number):
    return torch.log(1 + torch.exp(number))


def bound(logits, labels, multiplier, bias):
    """The bound of Eban et al., whose λ and b of a class and an anchor are given by functions."""
    total = 0.0
    for kind in range(CLASSES):
        share = sum(1 for label in labels.tolist() if label == kind) / IMAGES
        for anchor in range(ANCHORS):
            precision, lam = (anchor + 1) / (ANCHORS + 1), multiplier(kind, anchor)
            for image, label in enumerate(labels.tolist()):
                score = logits[image, kind] + bias(kind, anchor)
                if label == kind:
                    total = total + (1 + lam * (1 - precision)) * softplus(-score) / IMAGES
                else:
                    total = total + lam * precision * softplus(score) / IMAGES
            total = total - lam * (1 - precision) * share * math.log(2)
    # Eban et al.: times the spacing 1 / (A + 1), divided by the range minus the spacing.
    return total / CLASSES / (ANCHORS + 1) / (1 - 1 / (ANCHORS + 1))


def same(found, wanted):
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)


def test_the_anchors_are_even():
    assert anchored_precisions(ANCHORS).tolist() == [0.25, 0.5, 0.75]


def test_the_bound_of_each_class_ascends_in_its_multipliers():
    of_loss = torch.stack([1 + 0.5 * randoms(CLASSES, ANCHORS, seed=2).abs(), randoms(CLASSES, ANCHORS, seed=3)])
    of_loss[0, 0, 0] *= -1.0
    batch = given(of_loss.requires_grad_())
    found = make_loss("eban", {"anchors": ANCHORS, "dual_rate": 0.25}, AUCPR_LOSSES)(batch)
    mine = torch.autograd.grad(found, [batch.scores.logits, of_loss])
    lam, bias = of_loss.detach()[0].abs().requires_grad_(), of_loss.detach()[1].clone().requires_grad_()
    wanted = bound(batch.scores.logits, batch.labels, lambda k, a: lam[k, a], lambda k, a: bias[k, a])
    of_logits, of_lam, of_bias = torch.autograd.grad(wanted, [batch.scores.logits, lam, bias])
    same(found, wanted)
    same(mine[0], of_logits)
    # |λ| stands for λ; its gradient is turned round.
    same(mine[1][0], -0.25 * of_lam * torch.sign(of_loss.detach()[0]))
    same(mine[1][1], of_bias)


def test_the_adaptive_bound_has_one_multiplier_and_one_bias_an_anchor():
    phi = torch.cat([1 + randoms(ANCHORS, seed=2).abs(), randoms(ANCHORS, seed=3)]).requires_grad_()
    batch = given(coefficients=phi)
    found = make_loss("adaptive_eban", None, AUCPR_LOSSES)(batch)
    wanted = bound(batch.scores.logits, batch.labels, lambda k, a: phi[a], lambda k, a: phi[ANCHORS + a])
    same(found, wanted)
    inputs = [batch.scores.logits, phi]
    for mine, other in zip(torch.autograd.grad(found, inputs), torch.autograd.grad(wanted, inputs), strict=True):
        same(mine, other)


def test_the_bound_lies_above_what_it_bounds():
    """1 − recall, in units of log 2, where the precision at the threshold is met."""
    logits = torch.tensor([[4.0], [2.0], [-1.0], [-3.0]], dtype=torch.float64).repeat(1, 2)
    labels = torch.tensor([0, 0, 0, 1])
    ones, zeros = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    of_first = 2 * anchored_loss(logits, labels, 0 * ones, zeros) - (-torch.nn.functional.logsigmoid(logits[3, 1])) / 4
    missed = 1 / 4
    assert float(of_first) / math.log(2) > missed


def test_binary_cross_entropy_is_the_mean_over_images_and_classes():
    batch = given()
    found, logits = make_loss("binary_cross_entropy", None, AUCPR_LOSSES)(batch), batch.scores.logits
    wanted = sum(
        softplus(-logits[image, kind] if label == kind else logits[image, kind])
        for image, label in enumerate(batch.labels.tolist())
        for kind in range(CLASSES)
    ) / (IMAGES * CLASSES)
    same(found, wanted)
    same(*(torch.autograd.grad(each, logits)[0] for each in (found, wanted)))


def test_pairwise_auc_is_the_mean_over_pairs_then_over_classes_that_have_any():
    batch = given()
    found, logits, labels = make_loss("pairwise_auc", None, AUCPR_LOSSES)(batch), batch.scores.logits, batch.labels
    means = []
    for kind in range(CLASSES):
        right, others = logits[labels == kind, kind], logits[labels != kind, kind]
        pairs = [softplus(other - one) for one in right for other in others]
        means += [sum(pairs) / len(pairs)] if pairs else []
    wanted = sum(means) / len(means)
    assert len(means) == CLASSES - 1
    same(found, wanted)
    same(*(torch.autograd.grad(each, logits)[0] for each in (found, wanted)))


def test_pairwise_auc_without_a_pair_is_nothing():
    batch = given(labels=torch.zeros(IMAGES, dtype=torch.int64))
    found = make_loss("pairwise_auc", None, AUCPR_LOSSES)(batch)
    assert found.item() == 0.0 and not torch.autograd.grad(found, batch.scores.logits)[0].any()


@pytest.mark.parametrize("name", ["binary_cross_entropy", "pairwise_auc", "adaptive_eban"])
def test_scores_far_apart_are_borne(name):
    batch = given(coefficients=torch.ones(2 * ANCHORS, dtype=torch.float64))
    far = batch._replace(scores=batch.scores._replace(logits=1e4 * batch.scores.logits.detach()))
    assert make_loss(name, None, AUCPR_LOSSES)(far).isfinite()


def test_parameters_of_the_loss_start_as_the_papers():
    start = AUCPR_LOSSES.start("eban", CLASSES, {"anchors": ANCHORS})
    assert torch.equal(start, torch.tensor([1.0, 0.0]).view(2, 1, 1).expand(2, CLASSES, ANCHORS))
    assert AUCPR_LOSSES.start("eban", CLASSES, {}).shape == (2, CLASSES, 20)
    assert AUCPR_LOSSES.start("pairwise_auc", CLASSES, {}) is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"anchors": 2.5}, "anchors is 2.5, but must be a whole number"),
        ({"anchors": 0}, "anchors is 0, but must be at least 1"),
        ({"dual_rate": -1.0}, "dual_rate is -1.0, but must not be negative"),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        AUCPR_LOSSES.start("eban", CLASSES, options)
