"""The interface of a teacher that draws its actions from a policy π_θ."""

from abc import abstractmethod
from typing import NamedTuple

from torch import Tensor

from fairseq_dlf.core.teaching.teachers.teacher import Memory, Teacher


class Decision(NamedTuple):
    """What a policy saw and did, once.

    Attributes:
        states: (elements, state).
        actions: (elements,), int64.
    """

    states: Tensor
    actions: Tensor


class StochasticTeacher(Teacher):
    """A teacher whose coefficients change by actions, drawn where it learns.

    An action is a whole number, which has no derivative: the gradient of θ comes from the scores ∇log π(a), by an
    estimator such as `reinforce`. So that contracts of teachers hold, Φ_t carries the score of its element's action in
    place of a derivative. Draws depend on a seed in the memory, so that a replay gives the same Φ_t.
    """

    acts_when_observed = True

    @abstractmethod
    def begin(self, seed: int, explores: bool) -> Memory:
        """Return the memory before the first step of a run.

        Args:
            seed: of the draws.
            explores: whether actions are drawn, as for learning; otherwise the teacher only guides, in its own way.
        """

    @abstractmethod
    def decision(self, progress: Tensor, memory: Memory) -> Decision:
        """Return what the policy sees and does in one step, without a graph.

        Args:
            progress: s_t, (features,).
            memory: before the step.
        """

    @abstractmethod
    def log_prob(self, states: Tensor, actions: Tensor) -> Tensor:
        """Return log π_θ of decisions, with a graph to θ: (…,) from (…, elements, state) and (…, elements)."""

    @abstractmethod
    def entropy(self, states: Tensor) -> Tensor:
        """Return the entropy of the policy in nats, the mean over elements, with a graph to θ: (…,) from states."""
