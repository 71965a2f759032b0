"""The dynamic loss with regularisers beside it, which a student minimises in episodes and in training alike."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Optional

import torch
from torch import Tensor

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.support.signature import Part
from fairseq_dlf.core.teaching.forms import Form
from fairseq_dlf.core.teaching.loss import DynamicLoss
from fairseq_dlf.translation.regularisers.passes import twice
from fairseq_dlf.translation.regularisers.regulariser import Predictions, Regularisers

# Begins the name of a weight in logs.
WEIGHT = "w_"


class Regularised(NamedTuple):
    """Sums over the target tokens of a batch.

    Attributes:
        loss: what the student minimises, a scalar with a graph.
        nll_nats: plain cross-entropy in nats, without a graph; the mean over passes.
        penalties: R of each regulariser, scalars without a graph.
    """

    loss: Tensor
    nll_nats: Tensor
    penalties: Sequence[Tensor] = ()


@dataclass(frozen=True)
class RegularisedLoss:
    """l_Φ + Σ_r w_r R_r, where the coefficients are Φ and, behind it, one weight for each regulariser.

    The loss is linear in the weights. Where a regulariser reads two passes, each sentence is passed through the
    student twice, with different dropout masks, and l_Φ is the mean over both.

    Attributes:
        dynamic: l_Φ, with its share of cross-entropy.
        regularisers: in the order of their weights; without any, this is `dynamic` itself.

    Cost: that of `dynamic` and of each regulariser; a step on twice as many sentences where two passes are read.
    """

    dynamic: DynamicLoss
    regularisers: Regularisers = ()

    @property
    def form(self) -> Form:
        """Return the form of Φ."""
        return self.dynamic.form

    @property
    def spec(self) -> str:
        """Return the regularisers as a text, from which `REGULARISERS.make_each` makes them again."""
        return ",".join(each.spec for each in self.regularisers)

    @property
    def signature(self) -> Part:
        """Everything that changes the loss; regularisers appear only if there are any."""
        return {**self.dynamic.signature, **({"regularisers": self.spec} if self.regularisers else {})}

    @property
    def reads_past(self) -> bool:
        """Return whether `past_probs` are needed."""
        return any(each.reads_past for each in self.regularisers)

    @property
    def reads_two_passes(self) -> bool:
        """Return whether each sentence is passed through the student twice."""
        return any(each.reads_two_passes for each in self.regularisers)

    def size(self, types: int) -> int:
        """Return the number of coefficients, those of the form and the weights, for so many types."""
        return self.form.size(types) + len(self.regularisers)

    def start(self, types: int, scale: float = 1.0) -> Tensor:
        """Return the coefficients before teaching, as `start_of`."""
        return start_of(self.form, self.regularisers, types, scale)

    def bounds(self, types: int) -> tuple[Tensor, Tensor]:
        """Return the lowest and the highest coefficients, as `bounds_of`."""
        return bounds_of(self.form, self.regularisers, types)

    def logits(self, forward: Callable[..., Any], net_input: Mapping[str, Any]) -> Tensor:
        """Return the student's logits of a batch, (passes · rows, tokens, types), by one call of `forward`."""
        logits: Tensor = forward(**(twice(net_input) if self.reads_two_passes else net_input))[0]
        return logits

    def __call__(
        self,
        logits: Tensor,
        target: Tensor,
        coefficients: Optional[Tensor] = None,
        past_probs: Optional[Tensor] = None,
    ) -> Regularised:
        """Return the loss of a batch.

        Args:
            logits: as `logits` returns them; any float dtype, the computation is in float32 or better.
            target: (rows, tokens), int64.
            coefficients: (size,), float; as for `DynamicLoss` without regularisers.
            past_probs: as in `Predictions`.

        Raises:
            InputError: the number of coefficients is wrong.
        """
        if not self.regularisers:
            return Regularised(*self.dynamic(logits, target, coefficients))
        phi, weights = self.split(self._required(coefficients, logits.size(-1)))
        seen = Predictions(logits, target, past_probs)
        loss, nll_nats = self.dynamic(logits, seen.for_each_pass(target), phi)
        loss, nll_nats = loss / seen.passes, nll_nats / seen.passes
        penalties = []
        for weight, regulariser in zip(weights.to(loss.dtype), self.regularisers, strict=True):
            penalty = self._summed(regulariser.of_tokens(seen), target)
            penalties.append(penalty.detach())
            loss = loss + weight * penalty
        return Regularised(loss, nll_nats, penalties)

    def split(self, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """Cut coefficients, (…, size), into Φ and the weights of the regularisers."""
        place = coefficients.size(-1) - len(self.regularisers)
        return coefficients[..., :place], coefficients[..., place:]

    def weights(self, coefficients: Tensor) -> dict[str, float]:
        """Return the weights in coefficients, (size,), by their names in logs, such as `w_r_drop`."""
        names = (f"{WEIGHT}{each.name}" for each in self.regularisers)
        return dict(zip(names, self.split(coefficients)[1].tolist(), strict=True))

    def require_effect(self, per_token: Sequence[float]) -> None:
        """Raise StateError if the R of the first batch, one for each regulariser, shows one that does nothing."""
        for regulariser, penalty in zip(self.regularisers, per_token, strict=True):
            regulariser.require_effect(penalty)

    def _summed(self, of_tokens: Tensor, target: Tensor) -> Tensor:
        padding = self.dynamic.padding
        return (of_tokens if padding is None else of_tokens.masked_fill(target == padding, 0.0)).sum()

    def _required(self, coefficients: Optional[Tensor], types: int) -> Tensor:
        if coefficients is None or coefficients.numel() != self.size(types):
            given = 0 if coefficients is None else coefficients.numel()
            raise InputError(
                f"{given:,} coefficients were given, but the form {self.form.spec} of {types:,} types with the weights "
                f"of {self.spec} has {self.size(types):,}: pass a teacher of these"
            )
        return coefficients


def start_of(form: Form, regularisers: Regularisers, types: int, scale: float = 1.0) -> Tensor:
    """Return the coefficients before teaching: the form's neutral ones times a scale, and the weights' own starts.

    Returns:
        (form.size(types) + regularisers,), float32.

    Raises:
        InputError: the form's are outside of its bounds, or have no multiples.
    """
    phi, (low, high) = form.start_times(scale, types), form.bounds(types)
    if ((phi < low) | (phi > high)).any():
        raise InputError(
            f"{scale:g} times the neutral coefficients of the form {form.spec} is outside of their bounds, {low:g} to "
            f"{high:g}: take another factor, or another start"
        )
    return torch.cat([phi, torch.tensor([each.start for each in regularisers])])


def bounds_of(form: Form, regularisers: Regularisers, types: int) -> tuple[Tensor, Tensor]:
    """Return the least and the greatest coefficients: the form's, and weights that must not be negative.

    A negative weight would reward what its regulariser penalises, and a divergence has no upper bound.

    Returns:
        (form.size(types) + regularisers,) each, float32.
    """
    coefficients, weights = form.size(types), len(regularisers)
    low, high = (torch.full((coefficients,), bound) for bound in form.bounds(types))
    return torch.cat([low, torch.zeros(weights)]), torch.cat([high, torch.full((weights,), torch.inf)])
