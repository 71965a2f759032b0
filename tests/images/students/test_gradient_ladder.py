"""The hypergradient through each kind of model against autograd through its unrolled updates, in float64."""

import pytest
import torch

from fairseq_dlf.core.hypergradient.episode import EpisodePlan, run_episode
from fairseq_dlf.core.hypergradient.probe import twice_differentiable
from fairseq_dlf.core.hypergradient.schedules import Binomial
from fairseq_dlf.core.hypergradient.student import Point, Student
from fairseq_dlf.core.hypergradient.trajectory import TrajectoryPlan
from fairseq_dlf.core.hypergradient.unroll import Step
from fairseq_dlf.core.hypergradient.update_rules import SGD
from fairseq_dlf.images.data.splits import ImageSet
from fairseq_dlf.images.losses import LossInput, make_loss
from fairseq_dlf.images.measures import ExpectedAccuracy
from fairseq_dlf.images.students.lesson import TimedBatch
from fairseq_dlf.images.students.models import build_model

STEPS, CLASSES, RATE = 4, 3, 0.1
SHAPES = {
    "mlp-7": (1, 5, 5),
    "lenet": (1, 16, 16),
    "resnet-8": (3, 8, 8),
    "wrn-10-1": (3, 8, 8),
    "densenet-10-2": (3, 8, 8),
}


def images(count, shape):
    return ImageSet(torch.randn(count, *shape, dtype=torch.float64), torch.arange(count) % CLASSES)


@pytest.fixture
def made(request):
    torch.manual_seed(1)
    model, ce_share = request.param
    module = build_model(model, SHAPES[model], CLASSES, seed=3).double().train()
    loss = make_loss("dlf", {"ce_share": ce_share})

    def objective(forward, coefficients, batch):
        return loss(LossInput(forward(batch.images), batch.labels, coefficients, batch.iteration, batch.iterations))

    batches = [TimedBatch(*images(6, SHAPES[model]), t, STEPS) for t in range(STEPS)]
    coefficients = (torch.eye(CLASSES) + 0.3 * torch.randn(STEPS, CLASSES, CLASSES)).double().flatten(1)
    student = Student(module, objective, twice_differentiable)
    measure = ExpectedAccuracy(student, images(9, SHAPES[model]))
    return student, batches, coefficients, measure


@pytest.mark.parametrize(
    "made",
    [(model, 0.0) for model in SHAPES] + [("resnet-8", 0.3)],
    indirect=True,
    ids=lambda case: f"{case[0]}-ce{case[1]}",
)
@pytest.mark.parametrize("rule", [SGD(), SGD(momentum=0.9, weight_decay=1e-2)], ids=["sgd", "momentum"])
def test_equals_autograd_through_the_unroll(made, rule):
    student, batches, coefficients, measure = made
    start = rule.initial(student.flat_params())
    plan = EpisodePlan(STEPS, trajectory=TrajectoryPlan(Binomial(2)), collapse_share=0.0)
    result = run_episode(student, rule, lambda t: Step(coefficients[t], batches[t], 0, RATE), start, measure, plan)
    found = result.hypergradient.coefficients

    leaf = coefficients.clone().requires_grad_()
    state = rule.initial(student.flat_params().requires_grad_())
    for t in range(STEPS):
        loss = student.loss(Point(state.params, leaf[t], batches[t], 0))
        state = rule.step(state, torch.autograd.grad(loss, state.params, create_graph=True)[0], RATE)
    scores = student.run(state.params, lambda forward: forward(measure.images.images).logits)
    expected = torch.softmax(scores, dim=-1)[torch.arange(9), measure.images.labels].mean()
    (wanted,) = torch.autograd.grad(expected, leaf)
    assert result.measure_after == pytest.approx(expected.item(), rel=1e-12)
    assert wanted.norm() > 1e-6
    assert (found - wanted).norm() / wanted.norm() < 1e-10
