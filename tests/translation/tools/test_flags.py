"""Which outputs loop, or are far too long."""

import random
from itertools import product

import pytest

from fairseq_dlf.translation.tools.flags import Flags, flags_of, longest_loop


def tried(words):
    """The words of the longest loop, by trying every place, size and end."""
    longest = 0
    for start, size in product(range(len(words)), range(1, len(words) // 3 + 1)):
        for end in range(start + max(3 * size, 6), len(words) + 1):
            if all(words[place] == words[place - size] for place in range(start + size, end)):
                longest = max(longest, end - start)
    return longest


def test_loops_are_those_of_every_place_and_size():
    draw = random.Random(3)
    found = []
    for _ in range(400):
        words = draw.choices("ab" if draw.random() < 0.5 else "abc", k=draw.randint(0, 16))
        found.append(longest_loop(words))
        assert found[-1] == tried(words), words
    assert {0, 6, 7, 8} <= set(found)


GIRL = "my daughter says that my young girl says that my young girl says that my young girl says that"
CASES = {
    "a translation": ("a man is walking .", "a man walks .", False, False),
    "a phrase three times": (GIRL, "my daughter says that she is a young girl who likes to play", True, False),
    "a phrase twice": ("a man and a man and a dog", "a man and a dog", False, False),
    "a word three times": ("very very very good", "really good now", False, False),
    "a word six times": ("very very very very very very good", "really good now", True, False),
    "as in the reference": ("no , no , no , not that !", "no , no , no , no , not this !", False, False),
    "more than in the reference": ("no , no , no , no , not that !", "no , no , no , not this !", True, False),
    "at three times the length": ("one two three four five six", "one two", False, False),
    "beyond three times the length": ("one two three four five six seven", "one two", False, True),
    "both": ("a b " * 9, "a b c d", True, True),
    "nothing": ("", "a man", False, False),
}


@pytest.mark.parametrize(("output", "reference", "loops", "long"), CASES.values(), ids=CASES)
def test_flags_of_a_sentence(output, reference, loops, long):
    assert flags_of(["fine", output], ["fine", reference]) == Flags([1] * loops, [1] * long)


def test_numbers_are_those_of_the_sentences():
    outputs = ["a a a a a a", "b", "c c c c c c c", "d d d d d d"]
    assert flags_of(outputs, ["a b", "b", "c c", "d d d d d d"]) == Flags([0, 2], [2])
