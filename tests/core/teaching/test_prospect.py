"""What is told of a lesson before hours are spent on it."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from fairseq_dlf.core.hypergradient.episode import EpisodePlan
from fairseq_dlf.core.hypergradient.student import Student
from fairseq_dlf.core.hypergradient.unroll import unroll
from fairseq_dlf.core.teaching.foresight import Cost
from fairseq_dlf.core.teaching.guidance import Guidance
from fairseq_dlf.core.teaching.prospect import (
    Prospect,
    Trial,
    constant_trials,
    derivative_lines,
    movement_lines,
    price_line,
    share_title,
)
from fairseq_dlf.core.teaching.teachers import StaticTeacher
from tests.core.teaching.toy import Place, ToyLesson, pulled

NEUTRAL = torch.tensor([0.5, -1.0])


def score(student, params, buffers):
    return 100 * float(params.sum())


@pytest.fixture
def prospect():
    lesson = ToyLesson()
    return Prospect(
        lesson=lesson,
        start=NEUTRAL,
        plan=EpisodePlan(7),
        products=True,
        observed=False,
        kept="all are kept",
        constants=constant_trials(lesson, NEUTRAL.mul),
        shares=[Trial(share_title(0.1), lesson, torch.ones(2)), Trial(share_title(0.3), lesson, torch.zeros(2))],
        score=score,
        score_name="sum",
        smoother="lower --rate",
        updates=7,
    )


def directly(lesson, phi, updates):
    """The score and the mean loss of a student that is trained with one Φ, by `unroll` alone."""
    source = Guidance(lesson, StaticTeacher(phi), 2).source
    done = unroll(lesson.student, lesson.rule, source, lesson.start, updates)
    return score(None, done.final.params, None), float(done.losses.mean())


@pytest.mark.parametrize(("updates", "span"), [(7, "7 updates"), (4, "4 of 7 updates")])
def test_scores_and_leverage_are_those_of_direct_trainings(prospect, updates, span):
    phis = [0.5 * NEUTRAL, NEUTRAL, 1.5 * NEUTRAL, torch.ones(2), torch.zeros(2)]
    found = [directly(prospect.lesson, phi, updates) for phi in phis]
    titles = [*(f"Φ = {factor} times neutral" for factor in ("0.5", "1", "1.5"))]
    titles += ["Φ with a uniform share of 0.1", "Φ with a uniform share of 0.3"]
    told = [f"  {title}: {each:.2f}, mean loss {loss:.3f}" for title, (each, loss) in zip(titles, found, strict=True)]
    scores = [each for each, _ in found]
    between = max(scores[:3]) - min(scores[:3]), abs(scores[3] - scores[4])
    assert min(between) > 1.0
    assert list(movement_lines(replace(prospect, updates=updates))) == [
        f"smoothness in Φ over {span}: 1.00 (1 is best, 0 is chance)",
        f"sum after {span}:",
        "  before: 0.00",
        *told,
        f"leverage: {between[0]:.2f} points between constant Φ, {between[1]:.2f} between shares of smoothing",
        "advice: smooth enough to teach; expect little where the leverage is within the noise of the score",
    ]


def test_a_student_is_scored_with_the_buffers_of_its_run(prospect):
    class Counted(Place):
        def __init__(self):
            super().__init__(torch.float32)
            self.register_buffer("forwards", torch.zeros(()))

        def forward(self):
            self.forwards.add_(1)
            return super().forward()

    prospect.lesson.student = Student(Counted(), pulled)
    counted = replace(prospect, score=lambda student, params, buffers: float(buffers["forwards"]), updates=4)
    scores = [line.split(",")[0] for line in movement_lines(counted) if line.startswith("  ")]
    # `pulled` runs the module twice.
    assert scores[0] == "  before: 0.00" and [each.split(": ")[1] for each in scores[1:]] == ["8.00"] * 5


def test_a_form_without_shares_is_named(prospect):
    lines = list(movement_lines(replace(prospect, shares=[])))
    assert lines[-2].endswith(" points between constant Φ, none, for lack of such a Φ, between shares of smoothing")
    assert not any("uniform share" in line for line in lines)


@pytest.mark.parametrize("rate", [1.0, 1e20])
def test_a_rough_run_and_one_that_diverges_are_advised(prospect, rate):
    def waves(forward, coefficients, batch):
        return (coefficients * torch.cos(5 * forward() + batch)).sum() + rate * 1e-20 * forward().pow(4).sum()

    lesson = ToyLesson(updates=40, rate=rate)
    lesson.student = lesson.student.with_objective(waves)
    changed = replace(prospect, lesson=lesson, updates=40, constants=constant_trials(lesson, NEUTRAL.mul), shares=[])
    lines = list(movement_lines(changed))
    assert (": nan (" in lines[0]) == (rate > 1.0)
    assert lines[-1].startswith("advice: below a smoothness of 0.5, a step of the teacher hardly does what it should:")
    assert lines[-1].endswith(": lower --rate")


def test_each_training_is_watched(prospect):
    seen = []

    class Counting:
        def __init__(self, label):
            self.label, self.done = label, []

        def forward(self, done):
            self.done.append(done)

    @contextmanager
    def watch(label):
        counting = Counting(label)
        yield counting
        seen.append((label, counting.done))

    list(movement_lines(replace(prospect, watch=watch, updates=2, shares=[])))
    labels = [f"smoothness {number}/3" for number in (1, 2, 3)]
    labels += [f"Φ = {factor} times neutral" for factor in ("0.5", "1", "1.5")]
    assert seen == [(label, [1, 2]) for label in labels]


def test_trials_lie_around_the_start():
    trials = constant_trials(ToyLesson(), NEUTRAL.mul, start=0.2)
    assert [each.title for each in trials] == [f"Φ = {factor} times neutral" for factor in ("0.1", "0.2", "0.3")]
    for trial, factor in zip(trials, (0.1, 0.2, 0.3), strict=True):
        torch.testing.assert_close(trial.coefficients, factor * NEUTRAL)


def test_a_share_is_told_with_its_scale():
    assert share_title(0.1) == "Φ with a uniform share of 0.1"
    assert share_title(0.3, 0.2) == "Φ of scale 0.2 with a uniform share of 0.3"


def test_derivatives_are_told_if_the_estimator_takes_any(prospect):
    wanted = "second-order products: the student can be differentiated as the options want"
    assert list(derivative_lines(prospect)) == [wanted, "kinks: none"]
    lesson = prospect.lesson
    lesson.student = lesson.student.with_objective(lambda forward, phi, batch: (phi * (forward() - batch).abs()).sum())
    assert list(derivative_lines(prospect)) == [wanted, "kinks: abs: differences of gradients would be wrong"]
    without = list(derivative_lines(replace(prospect, products=False)))
    assert without == ["second-order products: the estimator takes none"]


def test_a_price_is_the_sum_of_its_parts(prospect):
    cost = Cost(update_s=0.5, observe_s=30.0, reverse_s=2.0, measure_s=10.0)
    assert price_line(prospect, cost) == (
        "an episode of 7 updates: about 14 s forward and 24 s back "
        "(an update 500 ms, a measure 10 s, a step back 2 s); all are kept"
    )
    seeing = price_line(replace(prospect, observed=True), cost)
    assert "about 1.7 min forward and 24 s back" in seeing and "a measure 10 s, an observation 30 s" in seeing
    wanted = "a training of 7 updates: about 14 s (an update 500 ms, a measure 10 s)"
    assert price_line(replace(prospect, products=False), cost) == wanted


def test_the_cost_is_measured_with_products_only_if_the_estimator_takes_any(prospect):
    assert min(prospect.cost) > 0.0
    assert replace(prospect, products=False).cost.reverse_s == 0.0


def test_a_start_that_is_not_neutral_is_the_only_trial(prospect):
    trials = constant_trials(prospect.lesson, NEUTRAL.mul, neutral=False)
    assert [each.title for each in trials] == ["Φ where teaching starts"]
    assert torch.equal(trials[0].coefficients, NEUTRAL)
    lines = list(movement_lines(replace(prospect, constants=trials)))
    assert lines[-2].startswith("leverage: none, for lack of such a Φ, between constant Φ, ")
