"""Expected accuracy against its definition."""

import pytest
import torch

from fairseq_dlf.core.hypergradient.student import Student
from fairseq_dlf.images.data.splits import ImageSet
from fairseq_dlf.images.measures import MEASURES, ExpectedAccuracy, expected_accuracy, measure
from fairseq_dlf.images.students.models import build_model


@pytest.fixture
def made():
    torch.manual_seed(2)
    module = build_model("resnet-8", (3, 8, 8), 4, seed=1).double().train()
    images = ImageSet(torch.randn(12, 3, 8, 8, dtype=torch.float64), torch.arange(12) % 4)
    return Student(module, lambda forward, coefficients, batch: forward(batch).logits.sum()), images


def test_expected_accuracy_goes_through_the_images_in_parts(made, monkeypatch):
    """Batch normalisation sees a part at a time: three parts of four are three batches of four."""
    student, images = made
    monkeypatch.setattr(measure, "CHUNK", 5)
    params = student.flat_params()
    total = 0.0
    for part in range(3):
        chosen = slice(4 * part, 4 * part + 4)
        logits = student.run(params, lambda forward, chosen=chosen: forward(images.images[chosen]).logits)
        total += torch.softmax(logits, -1)[torch.arange(4), images.labels[chosen]].sum().item()
    found = ExpectedAccuracy(student, images)
    assert found.value(params) == pytest.approx(total / 12, rel=1e-12)
    assert found.value_and_cotangent(params).value == pytest.approx(total / 12, rel=1e-12)


@pytest.mark.parametrize(("chunk", "sharpness"), [(1000, 1.0), (5, 1.0), (5, 3.0)])
def test_the_cotangent_is_the_slope(made, monkeypatch, chunk, sharpness):
    monkeypatch.setattr(measure, "CHUNK", chunk)
    student, images = made
    params, direction = student.flat_params(), torch.randn(sum(student.sizes), dtype=torch.float64)
    found = ExpectedAccuracy(student, images, sharpness)
    ahead, behind = (found.value(params + step * direction) for step in (1e-6, -1e-6))
    slope = float(found.value_and_cotangent(params).cotangent @ direction)
    assert slope == pytest.approx((ahead - behind) / 2e-6, rel=1e-6)
    assert abs(slope) > 1e-3


def test_the_sharpness_is_that_of_the_probabilities(made):
    student, images = made
    params = student.flat_params()
    logits = student.run(params, lambda forward: forward(images.images).logits)
    for sharpness in (0.5, 1.0, 4.0):
        wanted = torch.softmax(sharpness * logits, -1)[torch.arange(12), images.labels].mean().item()
        assert ExpectedAccuracy(student, images, sharpness).value(params) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize(("chunk", "sizes"), [(12, [12]), (6, [6, 6]), (5, [4, 4, 4]), (11, [6, 6]), (1, [1] * 12)])
def test_the_parts_are_as_few_as_possible_and_of_one_size(made, monkeypatch, chunk, sizes):
    student, images = made
    monkeypatch.setattr(measure, "CHUNK", chunk)
    seen = []

    def counted(logits, labels, sharpness):
        seen.append(len(labels))
        return torch.zeros(len(labels))

    monkeypatch.setattr(expected_accuracy, "expected_accuracy", counted)
    # Batch normalisation takes no single image.
    student.module.eval()
    ExpectedAccuracy(student, images).value(student.flat_params())
    assert seen == sizes


def test_measuring_leaves_no_trace(made):
    student, images = made
    before = student.buffers()
    ExpectedAccuracy(student, images).value_and_cotangent(student.flat_params())
    assert student.module.training
    for name, buffer in student.module.named_buffers():
        assert torch.equal(buffer, before[name]), name


def test_the_sharpness_must_be_positive(made):
    with pytest.raises(ValueError, match="sharpness is 0.0, but must be positive"):
        ExpectedAccuracy(*made, sharpness=0.0)


def test_it_is_made_by_name(made):
    student, images = made
    found = MEASURES.make("expected_accuracy(sharpness=4)", student=student, images=images)
    wanted = ExpectedAccuracy(student, images, sharpness=4.0)
    assert found.value(student.flat_params()) == wanted.value(student.flat_params())
