"""What the places of Φ belong to, by form: types, bins of types, or neither."""

from dataclasses import dataclass
from typing import NamedTuple

import torch

from fairseq_dlf.core.teaching.forms import Bins, Diagonal, Form, Shares
from fairseq_dlf.core.teaching.forms.binned import Binned
from fairseq_dlf.core.teaching.forms.smoothing import PairPerType
from fairseq_dlf.translation.bleu.type_facts import CONTINUED, END, PUNCTUATION
from fairseq_dlf.translation.reports.vocabulary import Vocabulary

TYPE, BIN = "type", "bin"
# Examples of a bin in a table; figures show the first few.
EXAMPLES = 8
_KINDS = {CONTINUED: "continuation pieces", PUNCTUATION: "punctuation", END: "end of sentence"}


class Part(NamedTuple):
    """Coefficients of one meaning.

    Attributes:
        symbol: such as 'a'.
        meaning: in words.
        places: where they stand in Φ.
    """

    symbol: str
    meaning: str
    places: slice


@dataclass(frozen=True)
class Layout:
    """The parts of Φ, each with one coefficient per unit.

    Attributes:
        unit: TYPE, BIN, or '' for forms whose coefficients belong to nothing that has words.
    """

    unit: str
    parts: tuple[Part, ...]


def layout_of(form: Form, types: int) -> Layout:
    """Return the layout of a form; one that is not known here is a single part without a unit."""
    half = slice(0, form.size(types) // 2), slice(form.size(types) // 2, form.size(types))
    pair = Part("a", "weight of the target", half[0]), Part("b", "weight of the rest", half[1])
    whole = slice(0, form.size(types))
    if isinstance(form, Diagonal):
        return Layout(TYPE, (Part("Φ", "weight of log p(y)", whole),))
    if isinstance(form, PairPerType):
        return Layout(TYPE, pair)
    if isinstance(form, Bins):
        return Layout(BIN, pair)
    if isinstance(form, Shares):
        return Layout(BIN, (Part("Φ", "share of a uniform target", whole),))
    return Layout("", (Part("Φ", "all coefficients", whole),))


class TypeBin(NamedTuple):
    """A bin of types in words.

    Attributes:
        name: '1' for the most frequent types, or the name of a special kind.
        special: whether it is of a special kind.
        types: how many occur in train.
        share: of the train tokens; 0 where the dictionary does not tell how many they are.
        examples: the most frequent types first.
    """

    name: str
    special: bool
    types: int
    share: float
    examples: tuple[str, ...]


def bins_in_words(form: Binned, vocabulary: Vocabulary) -> list[TypeBin]:
    """Return the bins of a fitted form, in the order of their coefficients."""
    counts, found = vocabulary.facts.counts.double(), []
    of_type = form.bin_of(torch.arange(len(vocabulary)))
    for number in range(form.bins):
        within = (of_type == number) & vocabulary.occurs
        places = within.nonzero().flatten()
        order = places[torch.argsort(counts[places], descending=True, stable=True)][:EXAMPLES]
        name = str(number + 1) if number < form.number else _KINDS[number - form.number + 1]
        share = float(counts[within].sum() / counts.sum().clamp(min=1.0))
        words = tuple(vocabulary.word(place) for place in order.tolist())
        found.append(TypeBin(name, number >= form.number, len(places), share, words))
    return found
