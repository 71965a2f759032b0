"""How figures of images look, and what of them is drawn."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.figures import TEXT_WIDTH

LEAST_WIDTH, GREATEST_WIDTH = 2.5, 20.0


@dataclass(frozen=True)
class Look:
    """What is shown, and how wide.

    Attributes:
        width: of every figure, in inches, with fonts for this size.
        titles: whether figures say what they are; a paper's caption says it.
        classes: rows of Φ to show; None shows all.
        epochs: of Φ to show, each replaced by the nearest recorded one; None shows the run's start.

    Raises:
        InputError: the width is out of range, or an epoch is no number.
    """

    width: float = TEXT_WIDTH
    titles: bool = True
    classes: Sequence[int] | None = None
    epochs: Sequence[float] | None = None

    @property
    def legend_columns(self) -> int:
        """How many entries of a legend stand side by side."""
        return 1 if self.width < 5.0 else 2

    def __post_init__(self) -> None:
        if not LEAST_WIDTH <= self.width <= GREATEST_WIDTH:
            raise InputError(
                f"the width is {self.width:g} inches, wanted {LEAST_WIDTH:g} to {GREATEST_WIDTH:g}", setting="width"
            )
        if not all(map(math.isfinite, self.epochs or ())):
            raise InputError(f"epochs are {list(self.epochs or ())}, but must be finite numbers", setting="epochs")
