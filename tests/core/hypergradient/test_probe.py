"""What is found out of a student before hours are spent."""

import pytest
import torch

from fairseq_dlf.core.hypergradient.probe import kinks_of, require_second_derivatives, require_smooth
from fairseq_dlf.core.hypergradient.student import Point, Student
from fairseq_dlf.core.support.errors import InputError, StateError


class Once(torch.autograd.Function):
    """tanh whose derivative has no derivative."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.tanh()

    @staticmethod
    def backward(ctx, cotangent):
        return OnceBackward.apply(cotangent, *ctx.saved_tensors)


class OnceBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, cotangent, x):
        return cotangent * (1 - x.tanh().square())

    @staticmethod
    def backward(ctx, cotangent):
        raise RuntimeError("derivative for once is not implemented")


class MarkedOnce(Once):
    """tanh whose backward is marked as once differentiable."""

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, cotangent):
        return cotangent * (1 - ctx.saved_tensors[0].tanh().square())


class Applied(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function.apply(x)


@pytest.mark.parametrize(("function", "words"), [(Once, "once is not implemented"), (MarkedOnce, "marked as once")])
def test_a_layer_without_second_derivative_is_named(function, words):
    module = torch.nn.Sequential(torch.nn.Linear(2, 2), Applied(function), torch.nn.Linear(2, 1))
    student = Student(module, lambda forward, phi, batch: (phi * forward(batch)).square().mean())
    with pytest.raises(StateError, match=f"layer '1'.*{words}"):
        require_second_derivatives(student, Point(student.flat_params(), torch.ones(1), torch.rand(3, 2), 0))


def test_fused_attention_is_refused_and_its_context_cures_it(episode):
    made = episode("attention", steps=1, dropout=0.0)
    step = made.source(0)
    point = step.at(made.student.flat_params())
    require_second_derivatives(made.student, point)
    bare = Student(made.student.module, made.student.objective)
    with pytest.raises(StateError, match="cannot be differentiated twice, at its layer.*self_attn"):
        require_second_derivatives(bare, point)


CHAINS = {
    "none": (lambda x: x.tanh(), []),
    "gelu": (torch.nn.functional.gelu, []),
    "relu": (torch.relu, ["relu"]),
    "several": (lambda x: torch.nn.functional.leaky_relu(x).abs(), ["abs", "leaky_relu"]),
    "amax": (lambda x: x.amax(dim=1), ["max"]),
    "amin": (lambda x: x.amin(dim=1), ["max"]),
    "pooling": (lambda x: torch.nn.functional.max_pool1d(x, 2), ["max"]),
}


class Chain(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.layer, self.function = torch.nn.Linear(4, 4), function

    def forward(self, x):
        return self.function(self.layer(x))


@pytest.mark.parametrize(("function", "wanted"), CHAINS.values(), ids=CHAINS)
def test_kinks_are_found_in_the_graph(function, wanted):
    student = Student(Chain(function), lambda forward, phi, batch: (phi * forward(batch)).sum())
    point = Point(student.flat_params(), torch.ones(1), torch.rand(3, 4), 0)
    assert kinks_of(student, point) == wanted
    require_smooth(student, point, allowed=wanted)
    if wanted:
        with pytest.raises(InputError, match=f"kinks .{', '.join(wanted)}.*exact products"):
            require_smooth(student, point)


def test_an_unknown_kink_is_refused():
    student = Student(Chain(torch.relu), lambda forward, phi, batch: forward(batch).sum())
    with pytest.raises(InputError, match="no kinks named .'rleu'.*'relu'"):
        require_smooth(student, Point(student.flat_params(), torch.ones(1), torch.rand(3, 4), 0), allowed=["rleu"])
