"""Fields of files against the dataclass that they fill: every wrong one is named."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fairseq_dlf.core.files.fields import ANY_NUMBER, parse_json, read_dataclass, read_text
from fairseq_dlf.core.support.checks import require_at_least
from fairseq_dlf.core.support.errors import InputError

FILE = Path("folder/file.json")


@dataclass(frozen=True)
class Row:
    step: int
    loss: float = field(metadata=ANY_NUMBER)

    def __post_init__(self) -> None:
        require_at_least(0, step=self.step)


@dataclass(frozen=True)
class Record:
    name: str
    share: float
    done: bool
    teacher: str | None
    rows: tuple[Row, ...]
    bounds: tuple[float, float] | None
    places: list[int]
    rates: Mapping[str, float]
    anything: Any
    weight: float = 2.0


GIVEN: dict[str, Any] = {
    "name": "mlp",
    "share": 1,
    "done": True,
    "teacher": None,
    "rows": [{"step": 1, "loss": math.inf}],
    "bounds": [0, 2.5],
    "places": [3, 1],
    "rates": {"a": 1},
    "anything": [None, "x"],
}


def test_fields_are_taken_in_the_types_of_their_annotations():
    found = read_dataclass(Record, GIVEN, FILE)
    assert found == Record(
        "mlp", 1.0, True, None, (Row(1, math.inf),), (0.0, 2.5), [3, 1], {"a": 1.0}, [None, "x"], 2.0
    )
    assert isinstance(found.share, float) and isinstance(found.rows, tuple)
    assert read_dataclass(Record, {**GIVEN, "bounds": None, "weight": 3, "teacher": "t"}, FILE).weight == 3.0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": None}, "name is None, wanted text"),
        ({"name": ["mlp"]}, r"name is \['mlp'\], wanted text"),
        ({"share": "0.5"}, "share is '0.5', wanted a number"),
        ({"share": True}, "share is True, wanted a number"),
        ({"share": math.nan}, "share is nan, wanted a finite number"),
        ({"share": math.inf}, "share is inf, wanted a finite number"),
        ({"share": 10**400}, r"share is 1000.*000, wanted a finite number"),
        ({"done": 1}, "done is 1, wanted true or false"),
        ({"teacher": 5}, "teacher is 5, wanted text"),
        ({"rows": {"step": 1}}, "rows is {'step': 1}, wanted a list"),
        ({"rows": [7]}, r"rows\[0\] is 7, wanted fields with names"),
        ({"rows": [{"step": 1.5, "loss": 0}]}, r"rows\[0\].step is 1.5, wanted a whole number"),
        ({"rows": [{"step": True, "loss": 0}]}, r"rows\[0\].step is True, wanted a whole number"),
        ({"rows": [{"loss": 0}]}, r"rows\[0\] lacks the fields 'step'"),
        ({"rows": [{"step": -1, "loss": 0}]}, ": step is -1, but must not be negative; mend it"),
        ({"bounds": [1]}, r"bounds is \[1\], wanted a list of 2"),
        ({"places": [10**30]}, r"places\[0\] is 1000.*, wanted a whole number of 64 bits"),
        ({"places": [1, None]}, r"places\[1\] is None, wanted a whole number"),
        ({"rates": [1]}, r"rates is \[1\], wanted fields with names"),
        ({"rates": {"a": "b"}}, "rates.a is 'b', wanted a number"),
        ({"mood": 1}, "its content has the unknown fields 'mood'"),
    ],
)
def test_every_wrong_field_is_named(change, words):
    with pytest.raises(
        InputError, match=rf"folder/file.json is damaged.*{words}" if "mend" not in words else words
    ) as one:
        read_dataclass(Record, {**GIVEN, **change}, FILE, "mend it")
    assert "\n" not in str(one.value) and str(one.value).endswith("; mend it") and len(str(one.value)) < 250


@pytest.mark.parametrize("found", [None, 3, [1], "text"])
def test_what_holds_no_fields_is_named(found):
    with pytest.raises(InputError, match=r"file.json is damaged.*its content is .*, wanted fields with names"):
        read_dataclass(Record, found, FILE)


def test_missing_fields_are_named_and_others_may_be_ignored():
    with pytest.raises(InputError, match="its content lacks the fields 'anything', 'bounds', 'done'"):
        read_dataclass(Record, {}, FILE)
    assert read_dataclass(Record, {**GIVEN, "mood": 1}, FILE, extra=True).name == "mlp"


def test_a_long_or_deep_value_is_shortened():
    deep: Any = 1
    for _ in range(900):
        deep = [deep]
    for value in (deep, "x" * 10**6, list(range(10**6))):
        with pytest.raises(InputError) as one:
            read_dataclass(Record, {**GIVEN, "share": value}, FILE)
        assert len(str(one.value)) < 250


def test_tensors_are_fields():
    @dataclass(frozen=True)
    class State:
        params: Tensor
        buffers: dict[str, Tensor]

    found = read_dataclass(State, {"params": torch.ones(2), "buffers": {"a": torch.zeros(1)}}, FILE)
    assert torch.equal(found.params, torch.ones(2)) and list(found.buffers) == ["a"]
    with pytest.raises(InputError, match="buffers.a is None, wanted a tensor"):
        read_dataclass(State, {"params": torch.ones(2), "buffers": {"a": None}}, FILE)
    with pytest.raises(InputError, match=r"params is \[1\], wanted a tensor"):
        read_dataclass(State, {"params": [1], "buffers": {}}, FILE)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no JSON .Expecting value"),
        ("{", "holds no JSON"),
        (b"\xff\xfe\x00", "holds no JSON"),
        ("[" * 100_000, "holds no JSON .maximum recursion depth"),
        ("1" * 5000, "holds no JSON .Exceeds the limit"),
    ],
)
def test_what_is_no_json_is_named(text, words):
    with pytest.raises(InputError, match=rf"file.json is damaged: it {words}.*; delete it and make it again"):
        parse_json(text, FILE)
    assert parse_json(json.dumps({"a": [1, None]}), FILE) == {"a": [1, None]}


def test_texts_that_cannot_be_read_are_named(tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="x.json is damaged: it is not UTF-8 .*; train again"):
        read_text(path, "train again")
    with pytest.raises(InputError, match="cannot be read .Is a directory.; train again"):
        read_text(tmp_path, "train again")
    path.write_text("Φ", encoding="utf-8")
    assert read_text(path) == "Φ"


@pytest.mark.parametrize("number", [2**63 - 1, 1 - 2**63])
def test_whole_numbers_of_64_bits_are_read(number):
    assert read_dataclass(Record, {**GIVEN, "places": [number]}, FILE).places == [number]


@pytest.mark.parametrize("number", [2**63, -(2**63)])
def test_whole_numbers_beyond_64_bits_are_named(number):
    with pytest.raises(InputError, match="wanted a whole number of 64 bits"):
        read_dataclass(Record, {**GIVEN, "places": [number]}, FILE)


@pytest.mark.parametrize(("count", "ending"), [(8, "'h'"), (9, "'h', …")])
def test_eight_unknown_fields_are_listed(count, ending):
    unknown = dict.fromkeys("abcdefghi"[:count])
    with pytest.raises(InputError, match=f"has the unknown fields 'a', .*{ending}($|;)"):
        read_dataclass(Small, unknown, FILE)


@dataclass(frozen=True)
class Small:
    """Needs nothing."""


@dataclass(frozen=True)
class Choice:
    """Takes one of three types."""

    value: bool | list[int] | str


@pytest.mark.parametrize("value", [True, [1, 2], "text"])
def test_any_of_three_types_is_read(value):
    assert read_dataclass(Choice, {"value": value}, FILE).value == value
