"""The sharpened likelihood of references against a loop over tokens."""

import pytest
import torch

from fairseq_dlf.core.hypergradient.student import Student
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.translation.bleu.expected import ExpectedBleuSettings
from fairseq_dlf.translation.measures import MEASURES, DevSample
from tests.translation.students.losses.made_sequences import example_of, logits_alone


@pytest.fixture(params=["lstm", "transformer"])
def dev(request, tiny, monkeypatch):
    # fairseq's attention computes its softmax in float32.
    monkeypatch.setattr("fairseq.utils.softmax", lambda x, dim, onnx_trace=False: torch.softmax(x, dim))
    built = tiny(request.param, dropout=0.0)
    built.example = example_of(built)
    student = Student(built.model, None)
    return built, DevSample(built.task, student, [built.example.batch], 1, ExpectedBleuSettings())


@pytest.mark.parametrize("sharpness", [1.0, 5.0])
def test_equals_a_loop_over_tokens(dev, sharpness):
    built, sample = dev
    built.model.eval()
    each = []
    for row, reference in enumerate(built.example.references):
        logits = logits_alone(built, built.example.batch, row, reference)
        for place, token in enumerate(reference):
            p = torch.softmax(logits[place], dim=-1)
            each.append(float(p[token] ** sharpness / (p**sharpness).sum()))
    measure = MEASURES.make(f"sharpened_likelihood(sharpness={sharpness})", dev=sample)
    assert measure.value(sample.student.flat_params()) == pytest.approx(sum(each) / len(each), rel=1e-9)


def test_the_sharpness_is_checked(dev):
    with pytest.raises(InputError, match="sharpness is 0, but must be positive"):
        MEASURES.make("sharpened_likelihood(sharpness=0)", dev=dev[1])
