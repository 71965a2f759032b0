"""Predictions and accuracy against their definitions."""

import pytest
import torch

from fairseq_dlf.core.hypergradient.student import Student
from fairseq_dlf.images.data.splits import ImageSet
from fairseq_dlf.images.students import accuracy as accuracy_file
from fairseq_dlf.images.students.accuracy import accuracy, predictions
from fairseq_dlf.images.students.models import build_model


@pytest.fixture
def made():
    torch.manual_seed(2)
    module = build_model("resnet-8", (3, 8, 8), 4, seed=1).double().train()
    images = ImageSet(torch.randn(12, 3, 8, 8, dtype=torch.float64), torch.arange(12) % 4)
    return Student(module, lambda forward, coefficients, batch: forward(batch).logits.sum()), images


def test_measuring_leaves_no_trace(made):
    student, images = made
    before = student.buffers()
    accuracy(student, student.flat_params(), before, images)
    assert student.module.training
    for name, buffer in student.module.named_buffers():
        assert torch.equal(buffer, before[name]), name


def test_predictions_use_the_running_figures(made, monkeypatch):
    student, images = made
    buffers = student.buffers()
    buffers["body.2.running_mean"] += torch.linspace(-1, 1, 16, dtype=torch.float64)
    monkeypatch.setattr(accuracy_file, "CHUNK", 5)
    found = predictions(student, student.flat_params(), buffers, images.images)
    student.load_buffers(buffers)
    wanted = student.module.eval()(images.images).logits.argmax(-1)
    assert torch.equal(found, wanted)
    right = float((wanted == images.labels).double().mean())
    assert accuracy(student, student.flat_params(), buffers, images) == right
