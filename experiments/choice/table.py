"""What the choice table compares, and how: measures, forms of Φ, sentences, moves, options of teaching."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from experiments.options import words
from experiments.table import Options
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.support.signature import Part, part_of

DIRECTIONS = ("gradient", "sign")
# Cosines are also taken over successive parts of the run.
PARTS = 3


@dataclass(frozen=True)
class Choice:
    """A choice table; the defaults are those of the command.

    Attributes:
        measures: specs of measures of translation.
        forms: specs of forms of Φ.
        direction: along which Φ is moved: `gradient` is ΣdΦ of the first half, `sign` its signs, as Adam's first step.
        moves: greatest moves of a coefficient, as shares of the root mean square of neutral Φ.
        dev_sentences: sentences of both halves together.
        unseen_sentences: for greedy BLEU; 0 is all the rest of dev.
        seed: of the sentences, batches, dropout masks, candidates and random signs.
        teaching: options of the task `dlf_teaching`.
        of_form: options that a form adds to them, by its spec.

    Raises:
        InputError: naming what is wrong.
    """

    measures: tuple[str, ...] = ("sampled_bleu", "sharpened_likelihood(sharpness=5)", "reweighted_bleu")
    forms: tuple[str, ...] = ("diagonal", "smoothed(linear=1,start=0.1)", "bins(linear=1,start=0.1)")
    direction: str = "gradient"
    moves: tuple[float, ...] = (0.05, 0.1, 0.2)
    dev_sentences: int = 256
    unseen_sentences: int = 0
    seed: int = 1
    teaching: Options = words("--student-steps 60 --student-lr 3.0 --batch-size 32")
    of_form: Mapping[str, Options] = field(
        # −reward is about four times as steep as −σ(reward).
        default_factory=lambda: {
            form: words("--student-lr 0.75") for form in ("smoothed(linear=1,start=0.1)", "bins(linear=1,start=0.1)")
        }
    )

    def __post_init__(self) -> None:
        _require_some("measure", self.measures)
        _require_some("form", self.forms)
        if self.direction not in DIRECTIONS:
            raise InputError(f"the direction is {self.direction!r}: choose from {', '.join(DIRECTIONS)}", "direction")
        if not self.moves or min(self.moves) <= 0 or len(set(self.moves)) < len(self.moves):
            listed = ", ".join(f"{share:g}" for share in self.moves)
            raise InputError(f"the moves are {listed or 'none'}, wanted positive numbers, each once", "moves")
        if self.dev_sentences < 2 or self.dev_sentences % 2:
            raise InputError(
                f"{self.dev_sentences} dev sentences cannot be halved: take an even number", "dev_sentences"
            )
        if self.unseen_sentences < 0:
            raise InputError(
                f"{self.unseen_sentences} unseen sentences were asked for: take some, or 0 for all the rest of dev",
                "unseen_sentences",
            )

    @property
    def signature(self) -> Part:
        """All that changes the figures of a pair but for what the lessons sign."""
        names = ("measures", "forms", "teaching", "of_form", "seed")
        return part_of(self, without=names)

    def options(self, form: str) -> Options:
        """Return the options of teaching with a form."""
        return (*self.teaching, *self.of_form.get(form, ()))


def _require_some(what: str, specs: Iterable[str]) -> None:
    listed = list(specs)
    twice = sorted({spec for spec in listed if listed.count(spec) > 1})
    if twice or not listed:
        found = f"names {twice[0]} twice" if twice else f"has no {what}"
        raise InputError(f"the table {found}: name some, each once", f"{what}s")


TABLE = Choice()
