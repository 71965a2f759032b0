"""Signatures: made of parts, written, parsed, compared."""

from dataclasses import dataclass

import pytest

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.support.signature import Signature, described, part_of

PARTS = (
    {"steps": 200, "lr": 0.1, "clip": None, "exact": True, "warm": False},
    {"options": {"a": 1.0, "b": 0.5}, "milestones": (0.5, 0.75), "none": (), "seed": 1},
)
TEXT = "dlf|steps:200|lr:0.1|clip:none|exact:on|warm:off|options:a=1,b=0.5|milestones:0.5,0.75|none:|seed:1"


def test_parts_are_written_in_their_order():
    assert str(Signature.of("dlf", *PARTS)) == TEXT


def test_what_is_written_is_parsed():
    signature = Signature.of("dlf", *PARTS)
    assert Signature.parse(TEXT) == signature
    assert list(Signature.parse(TEXT).fields) == list(signature.fields)


@pytest.mark.parametrize("value", ["a|b", "a:b", "100%", "%7C", "a\nb", "", "Φ"])
def test_any_text_can_be_a_value(value):
    signature = Signature.of(value or "dlf", {"name": value, "after": 1})
    assert "\n" not in str(signature)
    assert Signature.parse(str(signature)) == signature


@pytest.mark.parametrize("number", [0.1, 1 / 3, 1e-7, 123456789.0, 1e30])
def test_numbers_keep_the_digits_that_tell_them_apart(number):
    text = Signature.of("dlf", {"lr": number}).get("lr")
    assert float(text) == number
    assert Signature.of("dlf", {"lr": number * (1 + 1e-12)}).get("lr") != text


def test_two_owners_of_one_name_are_refused():
    with pytest.raises(InputError, match="two fields named lr, seed: rename one"):
        Signature.of("dlf", {"lr": 1, "seed": 2, "a": 3}, {"seed": 2, "lr": 1})


@pytest.mark.parametrize("text", ["", "|a:1", "dlf|a", "dlf|:1", "dlf|a:1|a:2", "dlf|a:1|"])
def test_what_is_no_signature_is_refused(text):
    with pytest.raises(InputError, match="is no signature: wanted PROGRAM|NAME:VALUE"):
        Signature.parse(text)


def test_fields_can_be_left_out_and_looked_up():
    signature = Signature.of("dlf", *PARTS)
    assert str(signature.without("seed", "lr")) == TEXT.replace("|lr:0.1", "").replace("|seed:1", "")
    assert (signature.get("steps"), signature.get("no"), signature.get("no", "none")) == ("200", "", "none")
    assert signature.without("seed") == Signature.parse(TEXT.replace("seed:1", "seed:2")).without("seed")


def test_differences_are_told_field_by_field():
    one, other = Signature.parse("dlf|a:1|b:2|c:3"), Signature.parse("dlf|a:1|b:3|d:4")
    assert one.differences(other) == [
        "b is 2, the other has 3",
        "c is 3, the other has none",
        "d is not given, the other has 4",
    ]
    assert one.differences(one) == []


@dataclass
class Rule:
    """Stands for an update rule."""

    rate: float
    momentum: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)


def test_an_object_is_described_by_the_fields_that_are_no_defaults():
    assert described(Rule(0.5)) == "Rule(rate=0.5)"
    assert described(Rule(0.5, 0.9, (0.8, 0.9))) == "Rule(rate=0.5,momentum=0.9,betas=0.8,0.9)"
    assert described(Rule(0.5), "sgd") == "sgd(rate=0.5)"
    assert described(object()) == "object"


def test_a_part_has_every_field_but_those_left_out():
    assert part_of(Rule(0.5), without=["betas"]) == {"rate": 0.5, "momentum": 0.0}
    assert list(part_of(Rule(0.5))) == ["rate", "momentum", "betas"]
