"""Episodes with taught weights: dω, dΦ and dw against plain autograd, micro-batches, workers, the past self."""

import math

import pytest
import torch

from fairseq_dlf.core.hypergradient.probe import twice_differentiable
from fairseq_dlf.core.hypergradient.schedules import Checkpoints, Everything
from fairseq_dlf.core.hypergradient.student import Point, Student
from fairseq_dlf.core.hypergradient.unroll import Step
from fairseq_dlf.core.support.errors import StateError
from fairseq_dlf.core.support.workers import Workers
from fairseq_dlf.core.teaching.forms import FORMS
from fairseq_dlf.core.teaching.guidance import Guidance
from fairseq_dlf.core.teaching.loss import DynamicLoss
from fairseq_dlf.core.teaching.teachers import ScheduleTeacher
from fairseq_dlf.translation.bleu.type_facts import type_facts
from fairseq_dlf.translation.episodes.batches import micro_batches
from fairseq_dlf.translation.episodes.checkpoints import translation_objective
from fairseq_dlf.translation.episodes.past import PAST, with_past
from fairseq_dlf.translation.regularisers import REGULARISERS, RegularisedLoss
from fairseq_dlf.translation.regularisers.passes import twice
from tests.core.hypergradient.ladder import (
    RULES,
    Episode,
    by_autograd,
    by_reverse,
    relative_error,
    start_by_autograd,
)
from tests.translation.made_lessons import CPU, bleu_of_params, made_lessons

STEPS, FORM = 4, "bins(number=2)"
ALL = "r_drop,self_distillation,label_smoothing"


def plain_objective(form, padding, names):
    """The same loss by plain operations, which autograd differentiates by itself."""

    def objective(forward, coefficients, batch):
        passes = 2 if "r_drop" in names else 1
        net_input = twice(batch["net_input"]) if passes == 2 else batch["net_input"]
        logits = forward(**net_input)[0]
        table = torch.log_softmax(logits, dim=-1).view(-1, passes, *logits.shape[1:])
        target, real = batch["target"], batch["target"] != padding
        phi, weights = coefficients[: form.size(0)], coefficients[form.size(0) :]
        a, b = (part[form.bin_of(target)].unsqueeze(1) for part in phi.chunk(2))
        of_target = table.gather(-1, target[:, None, :, None].expand(-1, passes, -1, 1)).squeeze(-1)
        loss = -torch.sigmoid(a * of_target + b * table.mean(dim=-1)).mean(dim=1)
        penalties = {
            "label_smoothing": lambda: -table.mean(dim=-1).mean(dim=1),
            "r_drop": lambda: ((table[:, 0].exp() - table[:, 1].exp()) * (table[:, 0] - table[:, 1])).sum(-1) / 4,
            "self_distillation": lambda: (batch[PAST] * (batch[PAST].log() - table.mean(dim=1))).sum(dim=-1),
        }
        for weight, name in zip(weights, names, strict=True):
            loss = loss + weight * penalties[name]()
        return (loss * real).sum() / batch["ntokens"]

    return objective


@pytest.fixture
def episode(tiny):
    """Builds the same tiny episode of the loss and of plain operations, by architecture and regularisers."""

    def build(arch, text, steps=STEPS, parts=1):
        made, names = tiny(arch, 0.3), text.split(",")
        dictionary, pairs = made.task.target_dictionary, made.task.pairs(3 * steps, seed=5)
        form = FORMS.make(FORM).fitted(type_facts(dictionary))
        dynamic = DynamicLoss(form, dictionary.pad())
        made.model.train()
        objective = translation_objective(RegularisedLoss(dynamic, REGULARISERS.make_each(text)))
        student = Student(made.model, objective, twice_differentiable)
        if parts > 1:
            student = student.in_parts(micro_batches(parts, dictionary.pad(), left_pad_source=True))
        batches = [pairs.collater([pairs[3 * t + i] for i in range(3)]) for t in range(steps)]
        batches = [with_past(student, student.flat_params(), batch) for batch in batches]
        size = form.size(len(dictionary))
        phis = torch.cat([torch.ones(size), torch.full((len(names),), 0.7)]).double()
        phis = phis + 0.2 * torch.randn(steps, len(phis), dtype=torch.float64)
        dev = made.task.pairs(4, seed=9)
        dev, neutral = dev.collater([dev[i] for i in range(4)]), form.neutral(len(dictionary)).double()
        measured = student.with_objective(translation_objective(RegularisedLoss(dynamic)))

        def source(t, phis=phis):
            return Step(phis[t], batches[t], 1000 + t, 0.5 + 0.1 * t)

        def measure(params):
            return -measured.loss(Point(params, neutral, dev, 99))

        plain = student.with_objective(plain_objective(form, dictionary.pad(), names))
        return (Episode(each, source, phis, measure) for each in (student, plain)), size

    return build


@pytest.mark.parametrize(
    ("arch", "names", "rule"),
    [
        ("lstm", "r_drop", "sgd"),
        ("transformer", "r_drop", "momentum"),
        ("lstm", "self_distillation", "sgd"),
        ("lstm", "label_smoothing", "momentum"),
        ("lstm", ALL, "adam-root"),
        pytest.param("transformer", ALL, "sgd-clipped", marks=pytest.mark.slow),
    ],
)
def test_all_derivatives_equal_plain_autograd_through_the_unroll(episode, arch, names, rule):
    (made, plain), size = episode(arch, names)
    found, wanted = by_reverse(made, RULES[rule], Checkpoints(2)), by_autograd(plain, RULES[rule])
    for part in (slice(size), *range(size, wanted.size(1))):
        assert relative_error(found.coefficients[:, part], wanted[:, part]) <= 1e-9, part
    assert relative_error(found.initial_params, start_by_autograd(plain, RULES[rule])) <= 1e-9


def test_micro_batches_are_differentiated_as_exactly(episode):
    (made, plain), size = episode("lstm", "r_drop,self_distillation", parts=2)
    found, wanted = by_reverse(made, RULES["sgd"], Everything()).coefficients, by_autograd(plain, RULES["sgd"])
    assert relative_error(found, wanted) <= 1e-9 and wanted[:, size:].abs().min() > 0


# Parts of batches -----------------------------------------------------------------


@pytest.fixture
def whole(tiny, monkeypatch):
    """A student without dropout, and a point whose batch holds another past self."""
    # fairseq's attention computes its softmax in float32.
    monkeypatch.setattr("fairseq.utils.softmax", lambda x, dim, onnx_trace=False: torch.softmax(x, dim))
    built = tiny("transformer", dropout=0.0)
    dictionary, pairs = built.task.target_dictionary, built.task.pairs(7, seed=4)
    dynamic = DynamicLoss(FORMS.make("diagonal"), dictionary.pad())
    loss = RegularisedLoss(dynamic, REGULARISERS.make_each(ALL))
    student = Student(built.model.train(), translation_objective(loss))
    params = student.flat_params()
    batch = with_past(student, params + 0.1, pairs.collater([pairs[i] for i in range(7)]))
    coefficients = torch.rand(len(dictionary) + 3, dtype=torch.float64)
    return student, Point(params, coefficients, batch, 1), dictionary.pad()


def test_the_losses_of_micro_batches_sum_to_that_of_the_batch(whole):
    student, point, padding = whole
    parts = student.in_parts(micro_batches(3, padding, left_pad_source=True))
    found, wanted = (each.gradients(point, of_coefficients=True) for each in (parts, student))
    for mine, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-13)
    assert wanted.coefficients[-2:].min() > 1e-3


def test_each_pass_of_a_worker_sees_its_own_part_of_the_batch(monkeypatch):
    """Without dropout the parts of workers that share an episode sum to the loss of one worker."""
    losses = []
    for workers in (Workers(), Workers(0, 2, shared=True), Workers(1, 2, shared=True)):
        # Several workers would wait for one another to sum up.
        monkeypatch.setattr(Workers, "combine", lambda self, tensor: tensor)
        given = {"regularisers": "self_distillation,label_smoothing", "student_dropout": 0.0}
        lesson = made_lessons(monkeypatch, workers, **given).lessons.lesson(0, 0, CPU)
        phi = torch.cat([torch.ones(12), torch.tensor([0.5, 0.7])])
        moved = lesson.start.params + 0.1 * torch.sin(torch.arange(len(lesson.start.params)))
        losses.append([float(lesson.student.loss(Point(moved, phi, lesson.step(t).batch, 0))) for t in range(4)])
    one, first, second = (torch.tensor(each) for each in losses)
    torch.testing.assert_close(first + second, one)


# The past self --------------------------------------------------------------------


def test_the_past_self_is_the_student_at_the_start_without_dropout(tiny):
    built = tiny("lstm", dropout=0.3)
    pairs = built.task.pairs(3, seed=5)
    batch = pairs.collater([pairs[i] for i in range(3)])
    loss = RegularisedLoss(DynamicLoss(FORMS.make("diagonal")))
    student = Student(built.model.train(), translation_objective(loss))
    before, params = torch.random.get_rng_state(), student.flat_params() + 0.1
    found = with_past(student, params, batch)
    assert torch.equal(torch.random.get_rng_state(), before) and built.model.training and PAST not in batch
    student.load_flat_params(params)
    with torch.no_grad():
        wanted = torch.softmax(built.model.eval()(**batch["net_input"])[0], dim=-1)
    torch.testing.assert_close(found[PAST], wanted)
    assert not found[PAST].requires_grad and found["target"] is batch["target"]


def test_lessons_carry_the_past_self_of_their_own_start(monkeypatch):
    made = made_lessons(monkeypatch, regularisers="self_distillation", student_start="continue")
    first = made.lessons.lesson(0, 0, CPU)
    second = made.lessons.lesson(0, 0, CPU, first.start.params + 0.5)
    pasts = [lesson.step(2).batch[PAST] for lesson in (first, first, second)]
    assert torch.equal(pasts[0], pasts[1]) and not torch.allclose(pasts[0], pasts[2])
    assert PAST not in made_lessons(monkeypatch, regularisers="r_drop").lessons.lesson(0, 0, CPU).step(0).batch


# Lessons --------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", ["reverse", "forward_differences"])
def test_estimators_find_the_slopes_of_the_weights(monkeypatch, estimator):
    bleu_of_params(monkeypatch)
    given = {"form": "bins(number=1,linear=1)", "regularisers": ALL, "estimator": estimator}
    lessons = made_lessons(monkeypatch, student_steps=2, **given).lessons
    lesson = lessons.lesson(0, 0, CPU)
    teacher = ScheduleTeacher(torch.tensor([[1.0], [0.0], [0.5], [0.25], [0.75]]))
    guidance = Guidance(lesson, teacher, 3)
    lessons.check(lesson, guidance)
    found = lessons.estimator(lesson, guidance, teacher.along)
    (gradient,) = torch.autograd.grad(found.loss, teacher.knots)
    _, rest, of_r_drop, of_past, of_smoothing = gradient.flatten().tolist()
    assert found.collapse is None and of_past != 0 != of_smoothing
    # The weight of smoothing is what this form has as the weight of its uniform rest.
    assert of_smoothing == pytest.approx(rest, rel=1e-4)
    # That of R-Drop is below the rounding of the measure, in which differences are taken.
    assert of_r_drop != 0 or estimator == "forward_differences"
    along = lessons.along(guidance)
    assert {name: along[name] for name in along if name.startswith("w_")} == {
        "w_r_drop": 0.5,
        "w_self_distillation": 0.25,
        "w_label_smoothing": 0.75,
    }


def test_phi_and_mean_weights_along_the_lesson_are_told(monkeypatch):
    lessons = made_lessons(monkeypatch, regularisers="label_smoothing", form="bins(number=1)").lessons
    teacher = ScheduleTeacher(torch.tensor([[1.0, 1.6], [0.0, 1.2], [0.0, 0.6]]))
    guidance = Guidance(lessons.lesson(0, 0, CPU), teacher, 3)
    # Six steps: the last one sees the share 5/6 of the run done.
    first, last = (1.0, 0.0), (1.5, 1.0)
    assert lessons.along(guidance) == {
        "phi_first": pytest.approx(sum(first) / 2),
        "phi_last": pytest.approx(sum(last) / 2),
        "phi_moved": pytest.approx(math.sqrt((0.5**2 + 1.0**2) / 2)),
        "w_label_smoothing": pytest.approx(sum(range(6)) / 6 * 0.1),
    }


def test_r_drop_without_dropout_is_refused_before_the_first_lesson(monkeypatch):
    lessons = made_lessons(monkeypatch, regularisers="label_smoothing,r_drop", student_dropout=0.0).lessons
    with pytest.raises(StateError, match="the regulariser r_drop agree, .* --student-dropout 0.3"):
        lessons.lesson(0, 0, CPU)
