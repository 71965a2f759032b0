"""Frequencies and kinds of target types."""

import pytest
from fairseq.data import Dictionary

from fairseq_dlf.translation.bleu.type_facts import type_facts


@pytest.mark.parametrize(
    ("words", "kinds"),
    [
        (["haus", "ha@@", ".", "&apos;s", "@-@", "3"], [0, 1, 2, 0, 2, 0]),
        (["\u2581haus", "us", "\u2581.", ",", "\u2581"], [0, 1, 2, 2, 0]),
        (["haus", ".", "a-b"], [0, 2, 0]),
    ],
)
def test_kinds_follow_the_way_of_splitting_words(words, kinds):
    dictionary = Dictionary()
    for number, word in enumerate(words, start=3):
        dictionary.add_symbol(word, n=number)
    found = type_facts(dictionary)
    assert found.kinds.tolist() == [0, 0, 3, 0, *kinds]  # <s> <pad> </s> <unk>
    assert found.counts.tolist() == [0.0] * 4 + [float(number) for number in range(3, 3 + len(words))]
