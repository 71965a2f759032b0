"""The losses that students can minimise, by name."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from torch import Tensor

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.teaching.forms import Form, Matrix

PAPER_FORM = Matrix()


class Scores(NamedTuple):
    """A model's output.

    Attributes:
        logits: (n, classes).
        features: input of the last layer, (n, width).
        weight: of the last layer, (classes, width).
    """

    logits: Tensor
    features: Tensor
    weight: Tensor


class LossInput(NamedTuple):
    """What a loss is computed from.

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
    """A loss and what must be known to use it.

    Attributes:
        name: on the command line.
        function: (given, *, options) → mean loss.
        help: the first line of its docstring.
        needs_teacher: whether its coefficients come from a teacher.
        head_bias: whether the model's last layer has a bias.
        options: its options with their defaults.
    """

    name: str
    function: Callable[..., Tensor]
    help: str
    needs_teacher: bool
    head_bias: bool
    options: Mapping[str, float]


LOSSES: dict[str, LossFamily] = {}


def loss_family(
    name: str, *, needs_teacher: bool = False, head_bias: bool = True
) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Register a function `(given: LossInput, *, option=default, …) -> Tensor` as a loss."""

    def register(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        if name in LOSSES:
            raise ValueError(f"there is a loss named {name} already: choose another name")
        parameters = list(inspect.signature(function).parameters.values())[1:]
        options = {parameter.name: parameter.default for parameter in parameters}
        text = (function.__doc__ or "").partition("\n")[0]
        LOSSES[name] = LossFamily(name, function, text, needs_teacher, head_bias, options)
        return function

    return register


def make_loss(name: str, options: Mapping[str, float] | None = None) -> Loss:
    """Return the loss of a name with its options set.

    Raises:
        InputError: there is no such loss, or it has no such option.
    """
    if name not in LOSSES:
        raise InputError(f"there is no loss named {name!r}: wanted one of {', '.join(sorted(LOSSES))}")
    family = LOSSES[name]
    unknown = sorted(set(options or {}) - set(family.options))
    if unknown:
        known = ", ".join(f"{key}={value:g}" for key, value in family.options.items()) or "none"
        raise InputError(
            f"the loss {name} has no option {', '.join(unknown)}: its options are {known}", setting="loss_options"
        )
    return partial(family.function, **(options or {}))


def parse_options(text: str) -> dict[str, float]:
    """Read options from 'margin=4,lambda_min=5'; none from ''.

    Raises:
        InputError: it is not such a list.
    """
    options: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        name, _, value = (piece.strip() for piece in part.partition("="))
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not name or name in options or not math.isfinite(number):
            raise InputError(
                f"loss options are {text!r}, wanted NAME=NUMBER,NAME=NUMBER, each name once", setting="loss_options"
            )
        options[name] = number
    return options
