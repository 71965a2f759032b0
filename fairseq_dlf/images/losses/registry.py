"""The losses that students can minimise, by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor

from fairseq_dlf.core.support.registry import Registry, options_of
from fairseq_dlf.core.teaching.forms import Form, Matrix

PAPER_FORM = Matrix()


class Scores(NamedTuple):
    """A model's output.

    Attributes:
        logits: (n, classes).
        features: input of the last layer, (n, width).
        weight: of the last layer, (classes, width).
        of_loss: parameters of the loss itself, which are trained with the model; None where it has none.
    """

    logits: Tensor
    features: Tensor
    weight: Tensor
    of_loss: Tensor | None = None


class LossInput(NamedTuple):
    """Input of a loss.

    Attributes:
        scores: the model's output.
        labels: (n,), int64.
        coefficients: Φ, (coefficients,); only dynamic losses read it.
        iteration: number of the update, from 0.
        iterations: planned updates of the run.
        form: how Φ acts on log-probabilities; the paper's is a matrix.
    """

    scores: Scores
    labels: Tensor
    coefficients: Tensor
    iteration: int
    iterations: int
    form: Form = PAPER_FORM


# A scalar, the mean over the batch, with a graph.
Loss = Callable[[LossInput], Tensor]


@dataclass(frozen=True)
class LossFamily:
    """A loss and the facts that its use depends on.

    Attributes:
        function: (given, *, options) → mean loss.
        needs_teacher: whether its coefficients come from a teacher.
        head_bias: whether the model's last layer has a bias.
        start: (classes, **options) → parameters of the loss itself before training; None where it has none.
    """

    function: Callable[..., Tensor]
    needs_teacher: bool
    head_bias: bool
    start: Callable[..., Tensor] | None = None

    @property
    def help(self) -> str:
        """The first line of the function's docstring."""
        return (self.function.__doc__ or "").partition("\n")[0]


class Losses(Registry[Loss]):
    """Loss families by name; their options are those of their functions."""

    def maker(self, name: str) -> Callable[..., Loss]:
        return partial(partial, self[name].function)

    def options(self, name: str) -> dict[str, Any]:
        return options_of(self[name].function)

    def start(self, name: str, classes: int, options: Mapping[str, float]) -> Tensor | None:
        """Return the parameters of a loss itself before training; None where it has none."""
        family: LossFamily = self[name]
        return None if family.start is None else family.start(classes, **{**self.options(name), **options})


# Those of classification; another task has a registry of its own.
LOSSES = Losses("loss", options_setting="loss_options")


def loss_family(
    name: str,
    *,
    needs_teacher: bool = False,
    head_bias: bool = True,
    start: Callable[..., Tensor] | None = None,
    losses: Losses = LOSSES,
) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Register a function `(given: LossInput, *, option=default, …) -> Tensor` as a loss; a decorator.

    Args:
        losses: the registry of the task that the loss is for.
    """

    def register(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        losses.register(name)(LossFamily(function, needs_teacher, head_bias, start))
        return function

    return register


def make_loss(name: str, options: Mapping[str, float] | None = None, losses: Losses = LOSSES) -> Loss:
    """Return the loss of a name with its options set.

    Raises:
        InputError: there is no such loss, or it has no such option.
    """
    losses.require_options(name, options or {})
    return losses.maker(name)(**(options or {}))
