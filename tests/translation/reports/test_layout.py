"""What the places of Φ belong to, and bins in words."""

import pytest

from fairseq_dlf.core.teaching.forms import FORMS
from fairseq_dlf.translation.reports.layout import BIN, TYPE, bins_in_words, layout_of
from tests.translation.reports.made_teachers import TYPES


@pytest.mark.parametrize(
    ("form", "unit", "parts"),
    [
        ("diagonal", TYPE, {"Φ": (0, TYPES)}),
        ("smoothed", TYPE, {"a": (0, TYPES), "b": (TYPES, 2 * TYPES)}),
        ("sparse_smoothed", TYPE, {"a": (0, TYPES), "b": (TYPES, 2 * TYPES)}),
        ("bins(number=3)", BIN, {"a": (0, 3), "b": (3, 6)}),
        ("shares(number=2,kinds=1)", BIN, {"Φ": (0, 5)}),
        ("matrix", "", {"Φ": (0, TYPES**2)}),
    ],
)
def test_every_form_has_its_layout(form, unit, parts):
    layout = layout_of(FORMS.make(form), TYPES)
    assert layout.unit == unit
    assert {part.symbol: (part.places.start, part.places.stop) for part in layout.parts} == parts


def test_only_matrices_and_networks_are_without_words():
    without = {name for name in FORMS if layout_of(FORMS.make(name), TYPES).unit == ""}
    assert without == {"matrix", "loss_network", "token_network"}


def test_bins_go_from_frequent_to_rare_types(vocabulary):
    first, second = bins_in_words(FORMS.make("bins(number=2)").fitted(vocabulary.facts), vocabulary)
    assert (first.name, first.special, first.types, first.examples) == ("1", False, 1, ("the",))
    assert first.share == pytest.approx(1000 / 2009) and second.share == pytest.approx(1009 / 2009)
    # The end of sentence, whose frequency is not known, is the last of them; "never" is none.
    assert (second.name, second.types) == ("2", 7)
    assert second.examples == (",", "house", "small@@", "_odd|$x$", "<b>", "rare", "</s>")


def test_special_kinds_have_bins_with_names(vocabulary):
    found = bins_in_words(FORMS.make("shares(number=1,kinds=1)").fitted(vocabulary.facts), vocabulary)
    assert [(each.name, each.special) for each in found] == [
        ("1", False),
        ("continuation pieces", True),
        ("punctuation", True),
        ("end of sentence", True),
    ]
    assert [each.examples for each in found[1:]] == [("small@@",), (",",), ("</s>",)]
    assert found[3].share == 0.0
