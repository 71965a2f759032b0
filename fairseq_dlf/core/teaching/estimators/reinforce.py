"""The policy gradient of a teacher that draws its actions: REINFORCE on the change of the measure, with replay."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from fairseq_dlf.core.hypergradient.episode import EpisodePlan, collapse_of
from fairseq_dlf.core.hypergradient.student import Buffers
from fairseq_dlf.core.hypergradient.unroll import Watch, unroll
from fairseq_dlf.core.support.checks import require_at_least, require_between, require_positive
from fairseq_dlf.core.support.seeds import mixed_seed
from fairseq_dlf.core.support.signature import Part
from fairseq_dlf.core.teaching.estimators.estimator import ESTIMATORS, Estimate, require_match
from fairseq_dlf.core.teaching.estimators.replay import Replay
from fairseq_dlf.core.teaching.guidance import Guidance
from fairseq_dlf.core.teaching.lesson import Lesson
from fairseq_dlf.core.teaching.teachers.stochastic import Decision, StochasticTeacher
from fairseq_dlf.core.teaching.window import Window


@ESTIMATORS.register("reinforce")
@dataclass(frozen=True)
class Reinforce:
    """∇J ≈ mean of (r − b) ∇log π(a | s) over records, where J is the expected reward of one action.

    An action is taken at each observation of the student, and is an episode of its own. With M_i the mean of the
    measure over `points` places of interval i, evenly spaced up to its end, each place weighted γ times the next,
    r = sign(M_i − M_{i−1}); before the first interval there is the measure at the start. The baseline b is a moving
    average of the rewards before r, and is kept with the record. Records of all lessons, and so of all students that
    are trained side by side, go to one replay memory, from which each lesson draws.

    On records of the present policy the estimate is unbiased for the states that the memory holds, whatever the
    baseline. On older records it is so with weights π(a | s) / π_then(a | s), as long as none reaches the limit.
    Without weights the estimate has the bias of the policy's change since, and no bottom: records of actions that were
    worse than the baseline push their probability down further and further (in a bandit, to e^−3000 in 25 steps).

    Attributes:
        plan: the conditions of a collapse; nothing else of it is used.
        gamma: γ in (0, 1].
        points: places of an interval where the measure is taken.
        baseline: decay of the moving average; 1 leaves it at 0, which is no baseline.
        replay: records that are kept.
        minibatch: records that a lesson draws, with replacement.
        weight_limit: the greatest weight of a record by its age; 0 weighs none.

    Raises:
        InputError: an option is out of range; when called, the teacher does not draw its actions.

    Cost: a training; `points` measures an interval, and one at the start; no derivatives of the student.
    Source: Huang et al. 2019, Algorithm 1; the places of the measure, the baseline and the weights are ours.
    """

    plan: EpisodePlan
    gamma: float = 0.9
    points: int = 4
    baseline: float = 0.9
    replay: int = 1000
    minibatch: int = 8
    weight_limit: float = 10.0
    takes_products: ClassVar[bool] = False
    learns_from: ClassVar[type] = StochasticTeacher
    memory: Replay = field(init=False, repr=False, compare=False)
    # The moving average of the rewards, in a list that methods of a frozen dataclass can change.
    average: list[float] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_at_least(1, points=self.points, replay=self.replay, minibatch=self.minibatch)
        require_between(0.0, 1.0, baseline=self.baseline, gamma=self.gamma)
        require_at_least(0, weight_limit=self.weight_limit)
        require_positive(gamma=self.gamma)
        object.__setattr__(self, "memory", Replay(self.replay))
        object.__setattr__(self, "average", [0.0])

    @property
    def signature(self) -> Part:
        names = ("gamma", "points", "baseline", "replay", "minibatch", "weight_limit")
        own = {name: getattr(self, name) for name in names}
        return {
            "estimator": "reinforce",
            **own,
            "steps": self.plan.steps,
            "collapse_share": self.plan.collapse_share,
        }

    def state(self) -> dict[str, Any]:
        """Return what must survive a resume."""
        return {"average": self.average[0], **self.memory.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.memory.restore(state)
        self.average[0] = float(state["average"])

    def __call__(
        self,
        lesson: Lesson,
        guidance: Guidance,
        along: Callable[[Tensor], Tensor],
        floor: float = -math.inf,
        watch: Watch | None = None,
    ) -> Estimate:
        began, teacher = time.perf_counter(), guidance.teacher
        require_match(type(self), type(teacher))
        assert isinstance(teacher, StochasticTeacher)
        measured = _Measured(self, lesson, guidance)
        run = lesson.student, lesson.rule, guidance.source, lesson.start, lesson.updates
        student = unroll(*run, watch=watch, observe=measured.observe)
        measured.take(lesson.updates, student.final.params)
        before, after = measured.values[0], measured.values[lesson.updates]
        collapse = collapse_of(before, after, student.losses, self.plan, floor)
        reached, rewards = measured.rewards()
        # Through the teacher's forward, in which wrappers for several processes take part.
        loss = 0.0 * along(guidance.progress[guidance.observed()]).sum()
        if collapse is None:
            self._record(teacher, guidance, rewards)
            loss = loss - self.objective(teacher, mixed_seed(lesson.step(0).seed, self.memory.added))
        figures = {
            "measure_before": before,
            "measure_after": after,
            "student_loss": float(student.losses.mean()),
            "forward_s": time.perf_counter() - began,
            "reward": sum(rewards) / len(rewards),
            "baseline": self.average[0],
            "reached": reached,
        }
        return Estimate(loss, figures, collapse, student)

    def objective(self, teacher: StochasticTeacher, seed: int) -> Tensor:
        """Return a scalar whose gradient is the estimate of ∇J from drawn records."""
        batch = self.memory.draw(self.minibatch, seed, next(teacher.parameters()))
        scores = teacher.log_prob(batch.states, batch.actions)
        if not self.weight_limit:
            return (batch.advantages * scores).mean()
        weights = (scores.detach() - batch.log_probs).exp().clamp(max=self.weight_limit)
        return (weights * batch.advantages * scores).mean()

    def places(self, updates: int) -> list[int]:
        """Return after how many updates of an interval the measure is taken, ascending; the last is its end."""
        points = min(self.points, updates)
        return [round(updates * place / points) for place in range(1, points + 1)]

    def level(self, values: Sequence[float]) -> float:
        """Return M_i, the discounted mean of the measure at the places of an interval."""
        weights = [self.gamma ** (len(values) - place) for place in range(1, len(values) + 1)]
        return sum(weight * value for weight, value in zip(weights, values, strict=True)) / sum(weights)

    def remember(self, teacher: StochasticTeacher, decision: Decision, reward: float) -> None:
        """Keep a decision of the present policy and its reward, and move the baseline."""
        with torch.no_grad():
            log_prob = float(teacher.log_prob(*decision))
        self.memory.add(decision, log_prob, reward, reward - self.average[0])
        self.average[0] = self.baseline * self.average[0] + (1.0 - self.baseline) * reward

    def _record(self, teacher: StochasticTeacher, guidance: Guidance, rewards: list[float]) -> None:
        for begin, reward in zip(guidance.observed(), rewards, strict=True):
            self.remember(teacher, teacher.decision(guidance.progress[begin], guidance.memory(begin)), reward)


def sign_of_change(before: float, after: float) -> float:
    """Return the reward of an action: 1, −1, or 0 without a change."""
    return float((after > before) - (after < before))


class _Measured:
    """The measure at the places of a lesson, taken on the forward pass."""

    def __init__(self, estimator: Reinforce, lesson: Lesson, guidance: Guidance):
        self.lesson, self.guidance, self.estimator = lesson, guidance, estimator
        self.values: dict[int, float] = {}
        # Of each interval, the updates before which it is measured, the last one its end.
        self.places = []
        for begin in guidance.observed():
            length = min(lesson.interval, lesson.updates - begin)
            self.places.append([begin + place for place in estimator.places(length)])
        self._due = {0, *(place for places in self.places for place in places)}

    def observe(self, t: int, params: Tensor, buffers: Buffers) -> None:
        self.guidance.observe(t, params, buffers)
        self.take(t, params)

    def take(self, t: int, params: Tensor) -> None:
        if t in self._due:
            self.values[t] = self.lesson.measure.value(params)

    def rewards(self) -> tuple[float, list[float]]:
        """Return the mean of the last interval, and the reward of each."""
        reached = self.values[0]
        if isinstance(self.lesson, Window) and self.lesson.reached is not None:
            reached = self.lesson.reached
        rewards = []
        for places in self.places:
            level = self.estimator.level([self.values[place] for place in places])
            rewards.append(sign_of_change(reached, level))
            reached = level
        return reached, rewards
