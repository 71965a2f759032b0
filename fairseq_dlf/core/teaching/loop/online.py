"""Adaptation of a loss in a run that another trainer makes: a policy that is asked before each update."""

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from fairseq_dlf.core.support.checks import require_at_least
from fairseq_dlf.core.support.errors import InputError, brief
from fairseq_dlf.core.support.seeds import mixed_seed
from fairseq_dlf.core.teaching.estimators.reinforce import Reinforce, sign_of_change
from fairseq_dlf.core.teaching.teachers.stochastic import Decision, StochasticTeacher
from fairseq_dlf.core.teaching.teachers.teacher import Memory


class Observed(Protocol):
    """A student as it is now, which is looked at only where that is due."""

    def statistics(self) -> Tensor:
        """Return what the policy reads of the student on dev, (statistics,)."""

    def measure(self) -> float:
        """Return how good the student is on dev; greater is better."""


class OnlineFigures(NamedTuple):
    """The present window's figures for the log.

    Attributes:
        reached: discounted mean of the measure in the window before; the measure at the start in the first one.
        reward: of the action before, 0 in the first window.
        baseline: moving average of the rewards.
        entropy: of the policy at its last decision, in nats, the mean over elements.
    """

    reached: float = 0.0
    reward: float = 0.0
    baseline: float = 0.0
    entropy: float = 0.0


class OnlineAdaptation:
    """Φ along a run whose updates are made elsewhere.

    Before the first update of each window of K updates, the policy learns from the window before, reads the student and
    moves Φ. Each action is an episode of its own, as in `Reinforce`. The end of a run that is not followed by another
    update teaches nothing.

    Args:
        teacher: the policy; its parameters are trained.
        estimator: rewards, replay memory and gradient.
        window: K.
        rate: Adam's learning rate on θ; with 0 the policy only guides, in its own way, and does not learn.
        seed: of actions and of what is drawn from the replay memory.

    Attributes:
        coefficients: Φ of the present window, (coefficients,); none before the first call of `advance`.
        figures: of the present window.
        begun: number of the first update of the present window.

    Raises:
        InputError: a setting is out of range.

    Source: Huang et al. 2019, Algorithm 1, with one child model; it knows no trainer, which is ours.
    """

    def __init__(self, teacher: StochasticTeacher, estimator: Reinforce, window: int, rate: float, seed: int):
        require_at_least(1, window=window)
        require_at_least(0, rate=rate)
        self.teacher, self.estimator = teacher.requires_grad_(True), estimator
        self.window, self.rate, self.seed = window, rate, seed
        self.optimizer = torch.optim.Adam(teacher.parameters(), lr=rate)
        self.figures = OnlineFigures()
        self._memory: Memory = teacher.begin(seed, explores=rate > 0)
        self.coefficients = next(teacher.parameters()).new_zeros(0)
        self._decision: Decision | None = None
        self.begun = 0
        self._values: list[float] = []

    @property
    def started(self) -> bool:
        """Whether a first window has begun."""
        return self._decision is not None

    def advance(self, update: int, share: float, student: Observed) -> bool:
        """Do what is due before an update; return whether that was anything, so that `state` has changed.

        Args:
            update: number of completed updates; calls that repeat one do nothing more.
            share: completed updates / planned updates.
            student: as it is before the update.

        Cost: a measure at each place of the estimator; statistics, and an update of θ, once in K updates.
        """
        if self._decision is None:
            self.figures = self.figures._replace(reached=student.measure())
        else:
            places = self.estimator.places(self.window)
            if update - self.begun < places[len(self._values)]:
                return False
            self._values.append(student.measure())
            if len(self._values) < len(places):
                return True
            self._learn(self._decision)
        self._act(update, share, student.statistics())
        return True

    def _learn(self, decision: Decision) -> None:
        level = self.estimator.level(self._values)
        reward = sign_of_change(self.figures.reached, level)
        self.estimator.remember(self.teacher, decision, reward)
        if self.rate > 0:
            objective = self.estimator.objective(self.teacher, mixed_seed(self.seed, self.estimator.memory.added))
            self.optimizer.zero_grad()
            (-objective).backward()
            self.optimizer.step()
        self.figures = self.figures._replace(reached=level, reward=reward, baseline=self.estimator.average[0])

    @torch.no_grad()
    def _act(self, update: int, share: float, statistics: Tensor) -> None:
        progress = torch.cat([statistics.new_tensor([share]), statistics]).to(self.coefficients)
        self._decision = self.teacher.decision(progress, self._memory)
        found, self._memory = self.teacher(progress.unsqueeze(0), self._memory)
        self.coefficients = found[0]
        self.figures = self.figures._replace(entropy=float(self.teacher.entropy(self._decision.states)))
        self.begun, self._values = update, []

    # Resuming ------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return what must survive a resume: tensors and plain values."""
        return {
            "teacher": self.teacher.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "estimator": self.estimator.state(),
            "memory": list(self._memory),
            "coefficients": self.coefficients,
            "decision": None if self._decision is None else list(self._decision),
            "begun": self.begun,
            "values": list(self._values),
            "figures": list(self.figures),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned.

        Raises:
            InputError: it is of another policy, or damaged.
        """
        try:
            self.teacher.load_state_dict(state["teacher"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.estimator.restore(state["estimator"])
            self._memory = tuple(state["memory"])
            self.coefficients = state["coefficients"]
            self._decision = None if state["decision"] is None else Decision(*state["decision"])
            self.begun, self._values = int(state["begun"]), list(state["values"])
            self.figures = OnlineFigures(*state["figures"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise InputError(
                f"the policy of the run that is resumed does not fit this one ({brief(error)}): pass the options that "
                "the run began with, or begin another run"
            ) from error
