"""Implementations by name: made from a text, with options that are checked."""

from dataclasses import dataclass

import pytest

from fairseq_dlf.core.support.registry import Registry


@dataclass(frozen=True)
class Ring:
    size: object
    stones: int = 1
    gold: float = 0.5


@pytest.fixture
def rings():
    registry = Registry("ring", options_setting="ring_options")
    registry.register("plain")(Ring)
    registry.register("low-rank_2")(lambda: "bare")
    return registry


def test_registering_gives_the_entry_back_and_refuses_a_name_twice(rings):
    class Other:
        pass

    assert rings.register("other")(Other) is Other and rings["other"] is Other
    with pytest.raises(ValueError, match="there is a ring named plain already: choose another name"):
        rings.register("plain")(Other)
    assert rings["plain"] is Ring


def test_names_are_listed_in_order_and_found(rings):
    assert list(rings) == ["plain", "low-rank_2"]
    assert "plain" in rings and "fancy" not in rings


@pytest.mark.parametrize(
    ("spec", "made"),
    [
        ("plain", Ring(9)),
        ("plain()", Ring(9)),
        ("plain(stones=3)", Ring(9, 3)),
        ("plain(stones=3,gold=1e-3)", Ring(9, 3, 0.001)),
        ("plain( gold = 2 , stones = -4 )", Ring(9, -4, 2)),
    ],
)
def test_a_text_makes_an_object(rings, spec, made):
    found = rings.make(spec, size=9)
    assert found == made and type(found.stones) is int


def test_an_entry_without_options_is_made_of_its_name(rings):
    assert rings.make("low-rank_2") == "bare"
    assert rings.options("low-rank_2") == {} and rings.options("plain") == {"stones": 1, "gold": 0.5}
    assert rings.parse("plain(stones=3)") == ("plain", {"stones": 3})


@pytest.mark.parametrize(
    ("spec", "words", "setting"),
    [
        ("fancy", "there is no ring named 'fancy': wanted one of low-rank_2, plain", "ring"),
        ("plain(", r"the ring is 'plain\(', wanted NAME or NAME\(OPTION=NUMBER,…\)", "ring"),
        ("", "the ring is '', wanted NAME", "ring"),
        ("plain(size=3)", "the ring plain has no option size: its options are stones=1, gold=0.5", "ring_options"),
        ("plain(b=3,a=3)", "has no option a, b", "ring_options"),
        ("low-rank_2(a=3)", "the ring low-rank_2 has no option a: its options are none", "ring_options"),
        ("plain(stones)", "ring options are 'stones', wanted NAME=NUMBER,NAME=NUMBER, each name once", "ring_options"),
        ("plain(stones=many)", "wanted NAME=NUMBER", "ring_options"),
        ("plain(stones=inf)", "wanted NAME=NUMBER", "ring_options"),
        ("plain(stones=1,stones=2)", "each name once", "ring_options"),
        ("plain(=1)", "wanted NAME=NUMBER", "ring_options"),
    ],
)
def test_wrong_texts_are_named(rings, spec, words, setting):
    with pytest.raises(ValueError, match=words) as caught:
        rings.make(spec)
    assert caught.value.setting == setting


def test_a_list_makes_each_in_order(rings):
    rings.register("two")(lambda stones=2: stones)
    assert rings.make_each("two(stones=5), low-rank_2") == (5, "bare")
    assert rings.make_each("low-rank_2,two") == ("bare", 2)
    assert rings.make_each("") == rings.make_each(" ") == ()


@pytest.mark.parametrize(
    ("specs", "words"),
    [
        ("low-rank_2,low-rank_2()", "the ring low-rank_2 is named twice in 'low-rank_2,low-rank_2"),
        ("low-rank_2,", "the ring is '', wanted NAME"),
        ("low-rank_2,fancy(a=1,b=2)", "there is no ring named 'fancy'"),
        ("low-rank_2,plain(a=1,b=2)", "the ring plain has no option a, b"),
    ],
)
def test_wrong_lists_are_named(rings, specs, words):
    with pytest.raises(ValueError, match=words):
        rings.make_each(specs)


def test_entries_may_be_told_their_name():
    class Flat:
        pass

    registry = Registry("form", name_attribute="kind")
    assert registry.register("flat")(Flat) is Flat and Flat.kind == "flat"


def test_the_setting_of_options_is_by_default_that_of_the_name():
    registry = Registry("form")
    registry.register("flat")(Ring)
    with pytest.raises(ValueError, match="no option width") as caught:
        registry.make("flat(width=1)")
    assert caught.value.setting == "form"
