"""What is found out of a student before hours are spent."""

import pytest
import torch

from fairseq_dlf.core.hypergradient.episode import EpisodePlan, run_episode
from fairseq_dlf.core.hypergradient.function_measure import FunctionMeasure
from fairseq_dlf.core.hypergradient.probe import (
    kinks_of,
    require_coefficients,
    require_second_derivatives,
    require_smooth,
)
from fairseq_dlf.core.hypergradient.student import Point, Student
from fairseq_dlf.core.hypergradient.unroll import Step
from fairseq_dlf.core.hypergradient.update_rules import SGD
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


LABELS = torch.tensor([0, 2, 1])


def entropy(scores, **options):
    return torch.nn.functional.cross_entropy(scores, LABELS, **options)


# Objectives that cannot be taught, and what is said of them.
UNFIT = {
    "by torch's weights": (lambda scores, phi: entropy(scores, weight=phi), "has no derivative in Φ.*write the weight"),
    "without Φ": (lambda scores, phi: entropy(scores), "makes no use of Φ.*phi.labels."),
    "with Φ detached": (lambda scores, phi: phi.detach().sum() * entropy(scores), "makes no use of Φ"),
}
# Of these, only the gradient tells.
ADDED = lambda scores, phi: entropy(scores) + phi.square().sum()  # noqa: E731


def classifier(objective):
    return Student(torch.nn.Linear(2, 3), lambda forward, phi, batch: objective(forward(batch), phi))


def point_of(student):
    return Point(student.flat_params(), torch.ones(3), torch.rand(3, 2), 0)


@pytest.mark.parametrize(("objective", "words"), UNFIT.values(), ids=UNFIT)
def test_an_objective_that_cannot_be_taught_is_told_before_the_first_update(objective, words):
    student = classifier(objective)
    point, rule = point_of(student), SGD()
    drawn = []

    def source(t):
        drawn.append(t)
        return Step(point.coefficients, point.batch, t, 0.1)

    measure = FunctionMeasure.of(student, lambda forward: -entropy(forward(point.batch)))
    with pytest.raises(InputError, match=words):
        run_episode(student, rule, source, rule.initial(point.params), measure, EpisodePlan(3))
    assert drawn == [0]
    for require in (require_coefficients, require_second_derivatives):
        with pytest.raises(InputError, match=words):
            require(student, point)


def test_coefficients_that_the_gradient_does_not_see_are_told():
    student = classifier(ADDED)
    require_coefficients(student, point_of(student))
    with pytest.raises(InputError, match="changes the student's loss, but not its gradient"):
        require_second_derivatives(student, point_of(student))


def test_an_objective_that_fails_in_any_case_fails_by_its_own_error():
    def broken(scores, phi):
        raise RuntimeError("what its author got wrong")

    def refused(scores, phi):
        raise StateError("what a form found missing")

    for objective, error in ((broken, RuntimeError), (refused, StateError)):
        student = classifier(objective)
        with pytest.raises(error, match="^what") as it:
            require_coefficients(student, point_of(student))
        assert not isinstance(it.value, InputError)


def test_a_worker_without_examples_asks_the_others():
    student = classifier(lambda scores, phi: scores.sum() * 0)
    with pytest.raises(InputError, match="makes no use"):
        require_coefficients(student, point_of(student))
    others = Student(student.module, student.objective, combine=lambda own: own + 1)
    require_coefficients(others, point_of(others))


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
