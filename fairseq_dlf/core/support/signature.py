"""Signatures: one line with everything that changes a result, to which each owner gives its fields.

The design follows sacrebleu: the object is printed, parsed and compared; no other code reads its text.
"""

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any

from fairseq_dlf.core.support.errors import InputError

# A part: field names with values, which `Signature.of` puts into words.
Part = Mapping[str, Any]


@dataclass(frozen=True)
class Signature:
    """Ordered fields after the name of a program: 'dlf|steps:200|lr:0.1|seed:1'.

    Attributes:
        program: name of the program that made the result.
        fields: values as text, by name, in order.
    """

    program: str
    fields: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, program: str, *parts: Part) -> "Signature":
        """Return a signature of the parts that several owners give.

        Raises:
            InputError: two owners give the same name.
        """
        fields: dict[str, str] = {}
        for part in parts:
            twice = sorted(set(part) & set(fields))
            if twice:
                raise InputError(f"the signature has two fields named {', '.join(twice)}: rename one")
            fields.update({name: _worded(value) for name, value in part.items()})
        return cls(program, fields)

    @classmethod
    def parse(cls, text: str) -> "Signature":
        """Read a signature that `str` wrote.

        Raises:
            InputError: the text is not a signature.
        """
        program, *rest = text.split("|")
        pairs = [part.partition(":") for part in rest]
        names = [name for name, _, _ in pairs]
        if not program or not all(name and colon for name, colon, _ in pairs) or len(set(names)) < len(names):
            raise InputError(f"{text!r} is no signature: wanted PROGRAM|NAME:VALUE|NAME:VALUE, each name once")
        return cls(_plain(program), {name: _plain(value) for name, _, value in pairs})

    def without(self, *names: str) -> "Signature":
        """Return the signature without some fields, such as the seed."""
        return Signature(self.program, {name: value for name, value in self.fields.items() if name not in names})

    def get(self, name: str, default: str = "") -> str:
        """Return the value of a field."""
        return self.fields.get(name, default)

    def differences(self, other: "Signature") -> list[str]:
        """List the fields that differ: 'lr is 0.1, the other has 0.2'."""
        names = list(dict.fromkeys([*self.fields, *other.fields]))
        return [
            f"{name} is {self.get(name, 'not given')}, the other has {other.get(name, 'none')}"
            for name in names
            if self.fields.get(name) != other.fields.get(name)
        ]

    def __str__(self) -> str:
        return "|".join([_quoted(self.program), *(f"{name}:{_quoted(value)}" for name, value in self.fields.items())])


def described(owner: Any, name: str | None = None) -> str:
    """Describe an object by its name and, if it is a dataclass, the fields that differ from their defaults.

    Args:
        name: by default that of its class: 'SGD(momentum=0.9,clip_norm=1)'.
    """
    changed = []
    for each in fields(owner) if is_dataclass(owner) else ():
        value = getattr(owner, each.name)
        if each.default is MISSING or value != each.default:
            changed.append(f"{each.name}={_worded(value)}")
    named = type(owner).__name__ if name is None else name
    return f"{named}({','.join(changed)})" if changed else named


def part_of(settings: Any, without: Iterable[str] = ()) -> Part:
    """Return all fields of a dataclass of settings, in order, as a part of a signature.

    A setting that is added later enters the signature unless `without` names it.

    Args:
        without: names of the fields that do not change the result.
    """
    left_out = set(without)
    return {each.name: getattr(settings, each.name) for each in fields(settings) if each.name not in left_out}


def _worded(value: Any) -> str:
    """Return a value in the words of a signature; numbers have as many digits as they need to be exact."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return repr(value) if float(f"{value:g}") != value else f"{value:g}"
    if isinstance(value, Mapping):
        return ",".join(f"{name}={_worded(each)}" for name, each in value.items())
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ",".join(map(_worded, value))
    return str(value)


def _quoted(text: str) -> str:
    return text.replace("%", "%25").replace("|", "%7C").replace("\n", "%0A")


def _plain(text: str) -> str:
    return text.replace("%0A", "\n").replace("%7C", "|").replace("%25", "%")
