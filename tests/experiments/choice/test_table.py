"""What a choice table declares, and what it refuses."""

import pytest

from experiments.choice.table import TABLE, Choice
from fairseq_dlf.core.support.errors import InputError


def test_options_of_a_form_come_after_those_of_all():
    plain, linear = TABLE.options("diagonal"), TABLE.options("bins(linear=1,start=0.1)")
    assert linear[: len(plain)] == plain
    assert linear[len(plain) :] == ("--student-lr", "0.75")


def test_the_signature_has_what_the_lessons_do_not_sign():
    assert Choice(dev_sentences=4, moves=(0.1,)).signature == {
        "direction": "gradient",
        "moves": (0.1,),
        "dev_sentences": 4,
        "unseen_sentences": 0,
    }


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"measures": ()}, "the table has no measure: name some, each once"),
        ({"forms": ("diagonal", "diagonal")}, "the table names diagonal twice"),
        ({"direction": "up"}, "the direction is 'up': choose from gradient, sign"),
        ({"moves": ()}, "the moves are none, wanted positive numbers"),
        ({"moves": (0.1, -0.1)}, "the moves are 0.1, -0.1, wanted positive numbers"),
        ({"moves": (0.1, 0.1)}, "the moves are 0.1, 0.1, wanted positive numbers, each once"),
        ({"dev_sentences": 5}, "5 dev sentences cannot be halved: take an even number"),
        ({"dev_sentences": 0}, "0 dev sentences cannot be halved"),
        ({"unseen_sentences": -1}, "-1 unseen sentences were asked for: take some, or 0"),
    ],
)
def test_mistakes_are_told(given, words):
    with pytest.raises(InputError, match=words):
        Choice(**given)
