"""The policy gradient against the exact one by enumeration, what is measured where, and replay."""

import itertools
import math

import pytest
import torch

from fairseq_dlf.core.hypergradient.episode import EpisodePlan
from fairseq_dlf.core.hypergradient.student import Student
from fairseq_dlf.core.hypergradient.update_rules import SGD
from fairseq_dlf.core.teaching.estimators import ESTIMATORS, Reinforce, estimate
from fairseq_dlf.core.teaching.estimators.replay import Replay
from fairseq_dlf.core.teaching.guidance import Guidance, opening
from fairseq_dlf.core.teaching.lesson import LessonStep
from fairseq_dlf.core.teaching.teachers import ControllerTeacher, StaticTeacher
from fairseq_dlf.core.teaching.teachers.stochastic import Decision
from fairseq_dlf.core.teaching.window import Window
from tests.core.teaching.toy import FEATURES, Place, ToyLesson

PLAN = EpisodePlan(1, collapse_share=0.0)
ACTIONS = torch.tensor(list(itertools.product(range(3), repeat=2)))


class Bandit:
    """One update that moves ω by −Φ, and a measure that rewards some of the nine joint actions."""

    updates = interval = 1
    rule = SGD()

    def __init__(self, seed=0, coupling=30.0):
        self.seed, self.coupling = seed, coupling
        self.student = Student(Place(torch.float64), lambda forward, phi, batch: (phi * forward()).sum())
        self.measure = self

    @property
    def start(self):
        return self.rule.initial(self.student.flat_params())

    def step(self, t):
        return LessonStep(None, self.seed, 1.0)

    def observe(self, t, params, buffers):
        return torch.tensor([0.4, 0.7])

    def value(self, params):
        one, other = params.tolist()
        return 1 / (1 + math.exp(-(one + 0.5 * other - self.coupling * one * other)))


@pytest.fixture
def policy():
    torch.manual_seed(4)
    made = ControllerTeacher.untaught(torch.zeros(2, dtype=torch.float64), 3)
    with torch.no_grad():
        made.weight_3.normal_()
        made.bias_3.copy_(torch.tensor([0.3, -0.2, 0.5]))
    return made


def gradient_of(loss, teacher):
    return torch.cat([each.flatten() for each in torch.autograd.grad(loss, list(teacher.parameters()))])


def rewards_of_actions(teacher):
    """The states, and the reward of each joint action."""
    decision = teacher.decision(torch.tensor([0.0, 0.4, 0.7]), teacher.start())
    bandit = Bandit()
    steps = teacher.beta * torch.tensor([0.0, -1.0, 1.0], dtype=torch.float64)
    before = bandit.value(torch.zeros(2))
    return decision.states, [float((m > before) - (m < before)) for m in (bandit.value(-steps[a]) for a in ACTIONS)]


def exact(teacher):
    """∇J by enumeration."""
    states, rewards = rewards_of_actions(teacher)
    log_probs = teacher.log_prob(states.expand(9, -1, -1), ACTIONS)
    assert {-1.0, 1.0} <= set(rewards) and float(log_probs.exp().sum()) == pytest.approx(1.0)
    return gradient_of((log_probs.exp() * torch.tensor(rewards).double()).sum(), teacher)


def expected(estimator, teacher, drawing, baseline):
    """The estimate's expectation over the actions of the policy `drawing`, by enumeration."""
    states, rewards = rewards_of_actions(teacher)
    total = torch.zeros(())
    for action, reward in zip(ACTIONS, rewards, strict=True):
        with torch.no_grad():
            log_prob = float(drawing.log_prob(states, action))
        estimator.memory.add(Decision(states, action), log_prob, reward, reward - baseline)
        total = total + math.exp(log_prob) * gradient_of(estimator.objective(teacher, 0), teacher)
    return total


@pytest.mark.parametrize("baseline", [0.0, 0.6, -3.0])
@pytest.mark.parametrize("weight_limit", [0, 10])
def test_on_the_present_policy_it_is_unbiased_whatever_the_baseline(policy, baseline, weight_limit):
    estimator = Reinforce(PLAN, replay=1, minibatch=1, weight_limit=weight_limit)
    wanted = exact(policy)
    assert wanted.norm() > 0.1
    torch.testing.assert_close(expected(estimator, policy, policy, baseline), wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("baseline", [0.0, 0.6])
def test_on_an_older_policy_it_is_unbiased_where_it_is_weighted(policy, baseline):
    older = ControllerTeacher.from_tensors(policy.state_dict())
    with torch.no_grad():
        older.bias_3 += torch.tensor([0.8, -0.5, 0.0])
    wanted = exact(policy)
    found = [
        expected(Reinforce(PLAN, replay=1, minibatch=1, weight_limit=limit), policy, older, baseline)
        for limit in (0, 1, 1e6)
    ]
    torch.testing.assert_close(found[2], wanted, rtol=1e-9, atol=1e-9)
    for limited in found[:2]:
        assert (limited - wanted).norm() > 0.05 * wanted.norm()


@pytest.mark.parametrize(
    ("options", "lessons"),
    [
        ({"baseline": 1.0}, 1),
        ({"baseline": 0.5}, 2),
        pytest.param({"baseline": 0.5, "replay": 3, "minibatch": 4}, 4, marks=pytest.mark.slow),
    ],
)
def test_lessons_give_the_exact_gradient_on_average(policy, options, lessons):
    """Each replicate has draws of its own, and an estimator whose memory several lessons have filled."""
    wanted, replicates = exact(policy), 100
    torch.manual_seed(1)
    directions = torch.stack([wanted / wanted.norm(), *torch.randn(3, len(wanted)).double() / len(wanted) ** 0.5])
    found = []
    for replicate in range(replicates):
        estimator = Reinforce(PLAN, **{"replay": 1, "minibatch": 1, **options})
        for lesson in range(lessons):
            estimated = estimate(estimator, Bandit(1000 * replicate + lesson), policy, 3)
        found.append(directions @ -gradient_of(estimated.loss, policy))
    found = torch.stack(found)
    errors = found.std(dim=0) / replicates**0.5
    assert ((found.mean(dim=0) - directions @ wanted) / errors).abs().max() < 3.0
    # It tells the gradient from none.
    assert found.mean(dim=0)[0] / errors[0] > 3.0


def test_it_finds_the_best_arm():
    """Without coupling, −β for both is always right."""
    torch.manual_seed(1)
    policy = ControllerTeacher.untaught(torch.zeros(2, dtype=torch.float64), 3)
    optimizer, estimator = torch.optim.Adam(policy.parameters(), lr=0.01), Reinforce(PLAN)
    states, best = policy.decision(torch.tensor([0.0, 0.4, 0.7]), policy.start()).states, torch.tensor([1, 1])
    for step in range(40):
        optimizer.zero_grad()
        estimate(estimator, Bandit(step, coupling=0.0), policy, 3).loss.backward()
        optimizer.step()
    assert float(policy.log_prob(states, best).exp()) > 0.7


# What is measured -------------------------------------------------------------------


def lesson_with(values, updates=6, interval=3):
    """A toy lesson whose measure is told, by the number of its call."""
    lesson = ToyLesson(updates=updates, interval=interval)
    told = iter(values)
    lesson.measure.value = lambda params: next(told)
    return lesson


def controller():
    torch.manual_seed(2)
    return ControllerTeacher.untaught(torch.zeros(2), 2)


def test_rewards_are_signs_of_the_change_of_discounted_means():
    """Start 0.5; the first interval's mean is (0.81·0.2 + 0.9·0.6 + 0.7) / 2.71 = 0.517, the second's 0.5."""
    estimator = Reinforce(EpisodePlan(6), points=3)
    found = estimate(estimator, lesson_with([0.5, 0.2, 0.6, 0.7, 0.5, 0.5, 0.5]), controller(), len(FEATURES))
    assert [record.reward for record in estimator.memory.records] == [1.0, -1.0]
    assert found.figures["measure_before"] == 0.5 and found.figures["reached"] == pytest.approx(0.5)
    assert found.figures["reward"] == 0.0
    # The baseline before a reward is none of it.
    assert [record.advantage for record in estimator.memory.records] == pytest.approx([1.0, -1.1])
    assert found.figures["baseline"] == pytest.approx(0.9 * 0.1 - 0.1)
    first = [record.states[0, -1].item() for record in estimator.memory.records]
    assert first == pytest.approx([0.0, 0.5])


def test_a_window_is_compared_with_the_one_before():
    for reached, wanted in ((None, 1.0), (0.75, 1.0), (0.9, -1.0), (0.8, 0.0)):
        lesson, teacher = lesson_with([0.5, 0.8]), controller()
        window = Window(lesson, 3, 3, lesson.start, opening(lesson, teacher, explores=True), reached)
        estimator, guidance = Reinforce(EpisodePlan(3), points=1), window.guidance(teacher, len(FEATURES))
        found = estimator(window, guidance, guidance.along)
        assert (found.figures["reward"], found.figures["reached"]) == (wanted, 0.8)


def test_an_interval_of_few_updates_is_measured_after_each():
    lesson, calls = ToyLesson(updates=5, interval=3), []
    lesson.measure.value = lambda params: calls.append(params) or 0.5
    found = estimate(Reinforce(EpisodePlan(5), points=100), lesson, controller(), len(FEATURES))
    assert len(calls) == 6 and found.figures["reward"] == 0.0
    assert torch.equal(calls[-1], found.student.final.params) and torch.equal(calls[0], lesson.start.params)


def test_a_record_is_what_the_student_was_taught_by():
    lesson, teacher, estimator = ToyLesson(updates=6, interval=3), controller(), Reinforce(EpisodePlan(6))
    guidance = Guidance(lesson, teacher, len(FEATURES), opening(lesson, teacher, explores=True))
    estimator(lesson, guidance, guidance.along)
    phi = torch.zeros(2)
    for place, record in enumerate(estimator.memory.records):
        moved = guidance.coefficients(3 * place) - phi
        assert torch.equal(moved, 0.1 * torch.tensor([0.0, -1.0, 1.0])[record.actions]) or place
        torch.testing.assert_close(moved, 0.1 * torch.tensor([0.0, -1.0, 1.0])[record.actions])
        phi = guidance.coefficients(3 * place)
        assert record.log_prob == pytest.approx(2 * math.log(1 / 3))


def test_a_collapsed_lesson_is_not_recorded():
    estimator, teacher = Reinforce(EpisodePlan(7)), controller()
    found = estimate(estimator, ToyLesson(rate=1e20), teacher, len(FEATURES))
    assert "not finite" in found.collapse and estimator.memory.records == [] and estimator.average == [0.0]
    assert not gradient_of(found.loss, teacher).any()
    found = estimate(estimator, ToyLesson(), teacher, len(FEATURES), floor=1.1)
    assert "under its floor of 1.1" in found.collapse


# The memory -------------------------------------------------------------------------


def decision(number):
    return Decision(torch.full((2, 4), float(number)), torch.tensor([number % 3, 0]))


def test_the_oldest_record_goes_first_and_draws_are_even_and_replayed():
    replay = Replay(3)
    for number in range(5):
        replay.add(decision(number), -1.0, 1.0, 0.5 * number)
    assert [record.advantage for record in replay.records] == [1.0, 1.5, 2.0] and replay.added == 5
    drawn = replay.draw(3000, 1, torch.zeros(1))
    assert drawn.states.shape == (3000, 2, 4) and drawn.actions.shape == (3000, 2)
    assert torch.equal(drawn.states[:, 0, 0], 2 * drawn.advantages)
    assert drawn.advantages.unique(return_counts=True)[1].tolist() == pytest.approx([1000] * 3, abs=100)
    assert torch.equal(replay.draw(9, 2, torch.zeros(1)).states, replay.draw(9, 2, torch.zeros(1)).states)


def test_a_restored_estimator_goes_on_as_the_first():
    one, other = Reinforce(EpisodePlan(7), replay=4), Reinforce(EpisodePlan(7), replay=4)
    teacher = controller()
    for seed in range(3):
        estimate(one, ToyLesson(seed=seed), teacher, len(FEATURES))
    other.restore(one.state())
    found = [
        gradient_of(estimate(each, ToyLesson(seed=9), teacher, len(FEATURES)).loss, teacher) for each in (one, other)
    ]
    assert torch.equal(*found) and found[0].any() and one.state()["added"] == other.state()["added"] == 12


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"average": 0.0, "added": 1, "records": [[torch.ones(1), torch.ones(1), "?", 0.0, 0.0]]}, "holds no records"),
        ({"average": 0.0, "added": 0, "records": [[torch.ones(1), torch.ones(1), 0.0, 0.0, 0.0]]}, "does not fit"),
    ],
)
def test_a_damaged_memory_is_noticed(state, words):
    with pytest.raises(ValueError, match=words):
        Reinforce(EpisodePlan(7)).restore(state)


# Options ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("gamma=1.5", "gamma is 1.5, but must lie between 0 and 1"),
        ("gamma=0", "gamma is 0, but must be positive"),
        ("points=0", "points is 0, but must be at least 1"),
        ("replay=0", "replay is 0, but must be at least 1"),
        ("minibatch=0", "minibatch is 0, but must be at least 1"),
        ("baseline=2", "baseline is 2, but must lie between 0 and 1"),
        ("weight_limit=-1", "weight_limit is -1, but must not be negative"),
        ("depth=2", "no option depth: its options are gamma=0.9, points=4"),
    ],
)
def test_wrong_options_are_named(spec, words):
    with pytest.raises(ValueError, match=words):
        ESTIMATORS.make(f"reinforce({spec})", plan=PLAN)


def test_teachers_that_draw_nothing_are_refused():
    with pytest.raises(ValueError, match="teachers such as controller, and a teacher static is none"):
        estimate(Reinforce(PLAN), ToyLesson(), StaticTeacher(torch.ones(2)), len(FEATURES))


def test_every_option_is_in_the_signature():
    made = ESTIMATORS.make("reinforce(gamma=0.5,points=2,baseline=0.7,replay=9,minibatch=3,weight_limit=2)", plan=PLAN)
    assert made.signature == {
        "estimator": "reinforce",
        **{"gamma": 0.5, "points": 2, "baseline": 0.7, "replay": 9, "minibatch": 3, "weight_limit": 2},
        **{"steps": 1, "collapse_share": 0.0},
    }
    assert set(ESTIMATORS.options("reinforce")) <= set(made.signature)
