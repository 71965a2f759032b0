"""Tiny students with a loss of tokens, in float64 and with dropout: an LSTM and an attention block."""

from typing import Any, NamedTuple

import pytest
import torch
from torch import nn
from torch.nn import functional

from fairseq_dlf.core.hypergradient.episode import MeasuredCotangent
from fairseq_dlf.core.hypergradient.probe import twice_differentiable
from fairseq_dlf.core.hypergradient.student import Point, Student
from fairseq_dlf.core.hypergradient.unroll import Step
from tests.core.hypergradient.ladder import Episode

TYPES, WIDTH, LENGTH = 8, 4, 5


class TinyLSTM(nn.Module):
    """Scores of the next token, (sentences, tokens, types)."""

    def __init__(self, dropout):
        super().__init__()
        self.embed = nn.Embedding(TYPES, WIDTH)
        self.dropout = nn.Dropout(dropout)
        self.lstm = nn.LSTM(WIDTH, WIDTH, batch_first=True)
        self.out = nn.Linear(WIDTH, TYPES)

    def forward(self, tokens):
        hidden, _ = self.lstm(self.dropout(self.embed(tokens)))
        return self.out(self.dropout(hidden))


class TinyAttention(nn.Module):
    """The same by one attention block; its tanh has no kinks, which would spoil finite differences."""

    def __init__(self, dropout):
        super().__init__()
        self.embed = nn.Embedding(TYPES, WIDTH)
        self.dropout = nn.Dropout(dropout)
        self.self_attn = nn.MultiheadAttention(WIDTH, 2, dropout, batch_first=True)
        self.norm = nn.LayerNorm(WIDTH)
        self.wide = nn.Linear(WIDTH, 6)
        self.out = nn.Linear(6, TYPES)

    def forward(self, tokens):
        embedded = self.dropout(self.embed(tokens))
        mixed, _ = self.self_attn(embedded, embedded, embedded, need_weights=False)
        return self.out(self.dropout(self.wide(self.norm(embedded + mixed)).tanh()))


STUDENTS = {"lstm": TinyLSTM, "attention": TinyAttention}


def token_loss(forward, coefficients, tokens):
    """The mean of −σ(Φ_y log p(y)) over the tokens that follow one another."""
    target = tokens[:, 1:]
    log_probs = functional.log_softmax(forward(tokens[:, :-1]), dim=-1)
    own = log_probs.gather(-1, target.unsqueeze(-1)).squeeze(-1)
    return -torch.sigmoid(coefficients[target] * own).mean()


@pytest.fixture
def episode():
    """Builds a tiny episode by the student's name."""

    def build(name, steps, dropout=0.3):
        module = STUDENTS[name](dropout).double().train()
        student = Student(module, token_loss, twice_differentiable)
        phis = 1 + 0.3 * torch.randn(steps, TYPES, dtype=torch.float64)
        batches = torch.randint(TYPES, (steps, 3, LENGTH))
        dev, ones = torch.randint(TYPES, (4, LENGTH)), torch.ones(TYPES, dtype=torch.float64)

        def source(t, phis=phis):
            return Step(phis[t], batches[t], 1000 + t, 0.5 + 0.1 * t)

        return Episode(student, source, phis, lambda params: -student.loss(Point(params, ones, dev, 99)))

    return build


class BatchMeasure:
    """A smooth measure of a student on a batch of its own."""

    def __init__(self, student, inputs):
        self.student = student
        self.inputs = inputs

    def __call__(self, params):
        return self.student.run(params, lambda forward: forward(self.inputs).sigmoid().mean())

    def value(self, params):
        return self(params).item()

    def value_and_cotangent(self, params):
        leaf = params.detach().requires_grad_()
        value = self(leaf)
        return MeasuredCotangent(value.item(), torch.autograd.grad(value, leaf)[0])


class Normalised(NamedTuple):
    """A student with batch normalisation, its steps, a measure, and Φ, (steps, coefficients)."""

    student: Student
    source: Any
    measure: BatchMeasure
    coefficients: torch.Tensor

    @property
    def steps(self):
        return len(self.coefficients)


@pytest.fixture
def normalised():
    """Six steps of a student with batch normalisation, at a rate of 0.3."""
    torch.manual_seed(2)
    module = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 3)).double().train()
    batches = torch.randn(6, 8, 5, dtype=torch.float64)
    coefficients = 1 + torch.rand(6, 3, dtype=torch.float64)
    student = Student(module, lambda forward, phi, batch: (phi * forward(batch).square()).mean())

    def source(t):
        return Step(coefficients[t], batches[t], 0, 0.3)

    return Normalised(student, source, BatchMeasure(student, torch.randn(16, 5, dtype=torch.float64)), coefficients)
