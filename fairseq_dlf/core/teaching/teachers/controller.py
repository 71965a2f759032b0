"""A teacher that moves the coefficients along the run, by small steps that a policy draws: ALA's controller."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fairseq_dlf.core.support.checks import require_positive
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.support.seeds import mixed_seed
from fairseq_dlf.core.teaching.teachers.stochastic import Decision, StochasticTeacher
from fairseq_dlf.core.teaching.teachers.teacher import TEACHERS, Memory

HIDDEN = 32
# How many values of each statistic a state holds.
PAST = 10
# Directions of the actions; the first is the most probable of equal ones.
DIRECTIONS = (0.0, -1.0, 1.0)
_EPSILON = 1e-6
_LAYERS = ("weight_1", "bias_1", "weight_2", "bias_2", "weight_3", "bias_3")
_BUFFERS = ("opening", "low", "high", "beta", "sampled", "pairs")
# The seed of a memory without draws.
_GREEDY = -1


class Elements(NamedTuple):
    """What the policy acts on: each element's coefficients and statistics by number.

    Attributes:
        coefficients: (elements, 1 or 2), which one action moves alike.
        statistics: (elements, per element).
    """

    coefficients: Tensor
    statistics: Tensor


@TEACHERS.register("controller")
class ControllerTeacher(StochasticTeacher):
    """A policy of two hidden layers that adds −β, 0 or +β to each element of Φ, where the student is observed.

    One network is shared by all elements. Its state is, for an element: the last ten values of its statistics, their
    present values relative to the mean of these, Φ as a share of the way to its bound, and the share of the run. Where
    there is one statistic for each number of a square Φ, as in the confusion of classes, an element is a pair of
    classes: it reads C_ij and C_ji and moves Φ_ij and Φ_ji alike, and the diagonal stays. Otherwise each coefficient is
    an element, and all read all statistics.

    Memory: the last statistics, (10, statistics); Φ, (coefficients,); seed and number of the next decision, (2,) int64.

    Args:
        layers: weights and biases of the three layers.
        opening: Φ at the start, (coefficients,).
        low, high: bounds on Φ, (coefficients,).
        beta: β, a scalar tensor.
        sampled: 1 if actions are drawn also where the teacher only guides, 0 if it takes the most probable.
        pairs: 1 if the elements are pairs of classes, 0 if they are coefficients.

    Raises:
        InputError: the tensors do not fit, or are not finite.

    Cost: of a decision, one forward over all elements.
    Source: Huang et al. 2019; bounds, ties, the scale of Φ in the state and what other forms read are ours.
    """

    statistics = "confusion"
    portable = True

    weight_1: nn.Parameter
    bias_1: nn.Parameter
    weight_2: nn.Parameter
    bias_2: nn.Parameter
    weight_3: nn.Parameter
    bias_3: nn.Parameter
    opening: Tensor
    low: Tensor
    high: Tensor
    beta: Tensor
    sampled: Tensor
    pairs: Tensor

    def __init__(
        self,
        layers: Mapping[str, Tensor],
        opening: Tensor,
        low: Tensor,
        high: Tensor,
        beta: Tensor,
        sampled: Tensor,
        pairs: Tensor,
    ):
        super().__init__()
        for name in _LAYERS:
            self.register_parameter(name, nn.Parameter(layers[name].detach().clone()))
        for name, tensor in zip(_BUFFERS, (opening, low, high, beta, sampled, pairs), strict=True):
            self.register_buffer(name, tensor.detach().clone())
        self._require_fit()

    @classmethod
    def untaught(  # type: ignore[override]
        cls, neutral: Tensor, features: int, beta: float = 0.1, reach: float = 1.0, sampled: int = 0
    ) -> "ControllerTeacher":
        """Return a controller whose actions are all equally probable.

        Args:
            neutral: Φ at the start, (coefficients,).
            features: length of s.
            beta: β, the step of an action; with C classes, at most about 1 / C, or the loss saturates.
            reach: how far Φ may move from its start.
            sampled: 1 draws actions also where the teacher only guides, 0 takes the most probable.
        """
        if features < 2:
            raise InputError("a controller reads statistics of the student, but there are none", setting="teacher")
        pairs = _are_pairs(len(neutral), features)
        return cls._uniform(neutral, 2 if pairs else features - 1, pairs, beta, reach, sampled)

    @classmethod
    def _uniform(
        cls, neutral: Tensor, statistics: int, pairs: bool, beta: float, reach: float, sampled: int
    ) -> "ControllerTeacher":
        """Return a controller whose actions are all equally probable, of elements that read so many statistics."""
        require_positive(beta=beta, reach=reach)
        if sampled not in (0, 1):
            raise InputError(
                f"the option sampled of the teacher {cls.kind} is {sampled}, but must be 0 or 1", "teacher"
            )
        sizes = [statistics * (PAST + 1) + 2, HIDDEN, HIDDEN, len(DIRECTIONS)]
        layers: dict[str, Tensor] = {}
        for place, (inside, outside) in enumerate(zip(sizes, sizes[1:], strict=False), start=1):
            # As torch's own layers, but for the last, which is 0.
            scale = inside**-0.5 if place < len(sizes) - 1 else 0.0
            layers[f"weight_{place}"] = scale * (2 * torch.rand(outside, inside, dtype=neutral.dtype) - 1)
            layers[f"bias_{place}"] = scale * (2 * torch.rand(outside, dtype=neutral.dtype) - 1)
        scalars = (neutral.new_tensor(float(value)) for value in (beta, sampled, pairs))
        return cls(layers, neutral, neutral - reach, neutral + reach, *scalars)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "ControllerTeacher":
        missing = {*_LAYERS, *_BUFFERS} - set(tensors)
        if missing:
            raise InputError(f"a controller needs tensors that are missing: {', '.join(sorted(missing))}")
        return cls(tensors, *(tensors[name] for name in _BUFFERS))

    @property
    def coefficients(self) -> int:
        return self.opening.numel()

    @property
    def features(self) -> int:
        return 1 + (self.coefficients if bool(self.pairs) else self._read)

    @property
    def _read(self) -> int:
        """How many statistics an element reads, by the weights of the first layer."""
        return (self.weight_1.size(1) - 2) // (PAST + 1)

    def start(self) -> Memory:
        return self._memory(_GREEDY)

    def begin(self, seed: int, explores: bool) -> Memory:
        return self._memory(seed if explores or bool(self.sampled) else _GREEDY)

    def forward(self, progress: Tensor, memory: Memory = ()) -> tuple[Tensor, Memory]:
        memory = memory or self.start()
        found = []
        for row in progress:
            decision, memory = self._decided(row, memory)
            score = self._log_probs(decision.states, decision.actions)
            found.append(memory[1] + self._spread(score - score.detach()))
        return torch.stack(found), memory

    def decision(self, progress: Tensor, memory: Memory) -> Decision:
        return self._decided(progress, memory)[0]

    def log_prob(self, states: Tensor, actions: Tensor) -> Tensor:
        return self._log_probs(states, actions).sum(dim=-1)

    def entropy(self, states: Tensor) -> Tensor:
        log_probs = torch.log_softmax(self._logits(states), dim=-1)
        return -(log_probs.exp() * log_probs).sum(dim=-1).mean(dim=-1)

    def bound(self, low: Tensor, high: Tensor) -> None:
        with torch.no_grad():
            self.low.clamp_(low, high)
            self.high.clamp_(low, high)
            self.opening.clamp_(low, high)

    # Parts ---------------------------------------------------------------------------------

    def _memory(self, seed: int) -> Memory:
        past = self.opening.new_zeros(PAST, self.features - 1)
        return past, self.opening.clone(), torch.tensor([seed, 0], device=self.opening.device)

    @torch.no_grad()
    def _decided(self, progress: Tensor, memory: Memory) -> tuple[Decision, Memory]:
        past, phi, clock = memory
        seed, number = clock.tolist()
        seen = progress[1:].to(phi)
        # Before there is a past, the student has always been as it is.
        past = torch.cat([past[1:], seen.unsqueeze(0)]) if number else seen.expand(PAST, -1)
        states = self._states(past, phi, progress[0].to(phi))
        actions = self._actions(states, seed, number)
        steps = self.beta * phi.new_tensor(DIRECTIONS)[actions]
        following = torch.clamp(phi + self._spread(steps), self.low, self.high)
        return Decision(states, actions), (past, following, torch.tensor([seed, number + 1], device=clock.device))

    def _states(self, past: Tensor, phi: Tensor, share: Tensor) -> Tensor:
        """Return the states of all elements, (elements, state)."""
        elements = self._elements()
        mean = past.mean(dim=0)
        change = (past[-1] - mean) / (mean + _EPSILON)
        each = torch.cat([past, change.unsqueeze(0)])[:, elements.statistics]  # (11, elements, per element)
        place = elements.coefficients[:, 0]
        way = phi[place] - self.opening[place]
        room = torch.where(way < 0, (self.opening - self.low)[place], (self.high - self.opening)[place])
        moved = way / room.clamp(min=_EPSILON)
        return torch.cat([each.permute(1, 0, 2).flatten(1), moved.unsqueeze(1), share.expand(len(place), 1)], dim=1)

    def _actions(self, states: Tensor, seed: int, number: int) -> Tensor:
        """Return the numbers of the actions, (elements,): the most probable without a seed."""
        logits = self._logits(states)
        if seed == _GREEDY:
            return logits.argmax(dim=-1)
        generator = torch.Generator().manual_seed(mixed_seed(seed, number))
        drawn = torch.rand(len(states), 1, generator=generator, dtype=torch.float64).to(logits.device)
        limits = torch.softmax(logits.double(), dim=-1).cumsum(dim=-1)[:, :-1]
        return (drawn >= limits).sum(dim=-1)

    def _logits(self, states: Tensor) -> Tensor:
        hidden = torch.relu(nn.functional.linear(states, self.weight_1, self.bias_1))
        hidden = torch.relu(nn.functional.linear(hidden, self.weight_2, self.bias_2))
        return nn.functional.linear(hidden, self.weight_3, self.bias_3)

    def _log_probs(self, states: Tensor, actions: Tensor) -> Tensor:
        """Return log π of each element's action, (…, elements)."""
        return torch.log_softmax(self._logits(states), dim=-1).gather(-1, actions.unsqueeze(-1)).squeeze(-1)

    def _spread(self, of_elements: Tensor) -> Tensor:
        """Return a number of each element at its coefficients, and 0 at those that stay: (coefficients,)."""
        places = self._elements().coefficients
        values = of_elements.unsqueeze(1).expand_as(places)
        return torch.zeros_like(self.opening).index_put((places.flatten(),), values.flatten())

    def _elements(self) -> Elements:
        device = self.opening.device
        if bool(self.pairs):
            classes = math.isqrt(self.coefficients)
            one, other = torch.triu_indices(classes, classes, offset=1, device=device)
            pairs = torch.stack([one * classes + other, other * classes + one], dim=1)
            return Elements(pairs, pairs)
        each = torch.arange(self.coefficients, device=device).unsqueeze(1)
        return Elements(each, torch.arange(self.features - 1, device=device).expand(len(each), -1))

    def _require_fit(self) -> None:
        """Raise InputError unless the tensors fit one another."""
        number, wanted = self.coefficients, {name: getattr(self, name) for name in (*_LAYERS, *_BUFFERS)}
        if not all(bool(tensor.isfinite().all()) for tensor in wanted.values()):
            raise InputError("the teacher's parameters are not all finite: its training has diverged")
        states = self.weight_1.size(-1) if self.weight_1.dim() else 0
        actions = len(DIRECTIONS)
        shapes = [(HIDDEN, states), (HIDDEN,), (HIDDEN, HIDDEN), (HIDDEN,), (actions, HIDDEN), (actions,)]
        shapes += [(number,)] * 3 + [()] * 3
        wrong = [name for (name, each), shape in zip(wanted.items(), shapes, strict=True) if each.shape != shape]
        if wrong or number < 1 or states < PAST + 3 or (states - 2) % (PAST + 1):
            raise InputError(f"a controller's tensors do not fit one another: {', '.join(wrong) or 'weight_1'}")
        if bool(self.pairs) and (self._read != 2 or not _are_pairs(number, number + 1)):
            raise InputError(f"a controller of pairs of classes has {number} coefficients, which are no square matrix")
        if bool((self.low > self.opening).any() or (self.opening > self.high).any()) or not float(self.beta) > 0:
            raise InputError("a controller's Φ starts outside of its bounds, or its steps are not positive")


def _are_pairs(coefficients: int, features: int) -> bool:
    """Return whether there is one statistic for each number of a square matrix of two rows or more."""
    return features == coefficients + 1 and coefficients > 1 and math.isqrt(coefficients) ** 2 == coefficients
