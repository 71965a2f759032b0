"""Fields of records, states and headers, checked against the frozen dataclass that they will fill.

Files may be damaged or foreign, so no function here trusts a type.
"""

import dataclasses
import json
import math
import reprlib
import types
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from torch import Tensor

from fairseq_dlf.core.support.errors import InputError, brief

Made = TypeVar("Made")

# For a dataclass's number that may be infinite or NaN: `loss: float = field(metadata=ANY_NUMBER)`.
ANY_NUMBER = {"finite": False}
AGAIN = "delete it and make it again"
_LARGEST = 2**63 - 1
_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false", Tensor: "a tensor"}


def parse_json(text: str | bytes, path: Path, remedy: str = AGAIN) -> Any:
    """Return the value of a text in JSON.

    Args:
        path: the file that holds it, for the message.
        remedy: what to do about a damaged file.

    Raises:
        InputError: it is not JSON, not UTF-8 or nested too deep.
    """
    try:
        return json.loads(text)
    # Besides bad JSON and bad UTF-8, ValueError covers numbers of thousands of digits.
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged: it holds no JSON ({brief(error)}); {remedy}") from error


def read_text(path: Path, remedy: str = AGAIN) -> str:
    """Return a file's text.

    Raises:
        InputError: it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is damaged: it is not UTF-8 ({brief(error)}); {remedy}") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); {remedy}") from error


def read_dataclass(kind: type[Made], found: Any, path: Path, remedy: str = AGAIN, extra: bool = False) -> Made:
    """Fill a dataclass with the fields of a mapping, each checked against its annotation.

    Annotations may consist of str, int, float, bool, Tensor, Any and None, of unions, tuples, lists
    and mappings of them, and of dataclasses. Numbers must be finite, except in fields with
    `ANY_NUMBER` as metadata.

    Args:
        kind: the dataclass.
        found: the content of the file.
        path: the file, for the message.
        remedy: what to do about a damaged file.
        extra: whether fields that the dataclass does not have are ignored.

    Raises:
        InputError: a field is missing, unknown or of another type, or the dataclass itself refuses it.
    """
    try:
        return _dataclass(kind, found, "", extra)
    except _WrongFieldError as error:
        raise InputError(f"{path} is damaged or of another version: {error}; {remedy}") from error
    except InputError as error:
        raise InputError(f"{path} is damaged: {error}; {remedy}") from error


class _WrongFieldError(Exception):
    """A field that is not what its annotation says."""


def _dataclass(kind: Any, found: Any, name: str, extra: bool) -> Any:
    whole = name or "its content"
    if not isinstance(found, Mapping):
        raise _WrongFieldError(f"{whole} is {_shown(found)}, wanted fields with names")
    members = {member.name: member for member in dataclasses.fields(kind) if member.init}
    needed = {key for key, member in members.items() if _is_needed(member)}
    missing, unknown = needed - set(found), set() if extra else set(found) - set(members)
    if missing:
        raise _WrongFieldError(f"{whole} lacks the fields {_listed(missing)}")
    if unknown:
        raise _WrongFieldError(f"{whole} has the unknown fields {_listed(unknown)}")
    hints = get_type_hints(kind)
    values = {
        key: _value(hints[key], found[key], f"{name}.{key}" if name else key, member.metadata.get("finite", True))
        for key, member in members.items()
        if key in found
    }
    return kind(**values)


def _listed(names: Set[Any]) -> str:
    listed = sorted(map(_shown, names))
    return ", ".join(listed[:8]) + (", …" if len(listed) > 8 else "")


def _is_needed(member: Any) -> bool:
    return member.default is dataclasses.MISSING and member.default_factory is dataclasses.MISSING


def _value(wanted: Any, found: Any, name: str, finite: bool) -> Any:
    """Return the value, in the type that its annotation names."""
    origin, inner = get_origin(wanted), get_args(wanted)
    if origin in (Union, types.UnionType):
        return _one_of(inner, found, name, finite)
    if origin in (tuple, list):
        return _sequence(origin, inner, found, name, finite)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping(inner, found, name, finite)
    if dataclasses.is_dataclass(wanted):
        return _dataclass(wanted, found, name, extra=False)
    if wanted is float:
        return _number(found, name, finite)
    # In Python bool is a subclass of int.
    if wanted is not Any and (not isinstance(found, wanted) or (isinstance(found, bool) and wanted is not bool)):
        raise _WrongFieldError(f"{name} is {_shown(found)}, wanted {_NAMES.get(wanted, wanted.__name__)}")
    if wanted is int and not -_LARGEST <= found <= _LARGEST:
        raise _WrongFieldError(f"{name} is {_shown(found)}, wanted a whole number of 64 bits")
    return found


def _one_of(choices: tuple[Any, ...], found: Any, name: str, finite: bool) -> Any:
    if found is None and type(None) in choices:
        return None
    rest = [choice for choice in choices if choice is not type(None)]
    for choice in rest[:-1]:
        try:
            return _value(choice, found, name, finite)
        except _WrongFieldError:
            continue
    return _value(rest[-1], found, name, finite)


def _sequence(origin: type, inner: tuple[Any, ...], found: Any, name: str, finite: bool) -> Any:
    if not isinstance(found, list | tuple):
        raise _WrongFieldError(f"{name} is {_shown(found)}, wanted a list")
    each = [inner[0]] * len(found) if origin is list or inner[-1] is Ellipsis else list(inner)
    if len(each) != len(found):
        raise _WrongFieldError(f"{name} is {_shown(found)}, wanted a list of {len(each)}")
    return origin(
        _value(one, value, f"{name}[{place}]", finite)
        for place, (one, value) in enumerate(zip(each, found, strict=True))
    )


def _mapping(inner: tuple[Any, ...], found: Any, name: str, finite: bool) -> dict[Any, Any]:
    if not isinstance(found, Mapping):
        raise _WrongFieldError(f"{name} is {_shown(found)}, wanted fields with names")
    key, one = inner
    return {
        _value(key, each, f"a name in {name}", finite): _value(one, value, f"{name}.{each}", finite)
        for each, value in found.items()
    }


def _number(found: Any, name: str, finite: bool) -> float:
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise _WrongFieldError(f"{name} is {_shown(found)}, wanted a number")
    try:
        number = float(found)
    except OverflowError:
        number = math.inf
    if finite and not math.isfinite(number):
        raise _WrongFieldError(f"{name} is {_shown(found)}, wanted a finite number")
    return number


def _shown(found: Any) -> str:
    """Return a value in a few words; content of foreign files may be long or deeply nested."""
    if isinstance(found, Tensor):
        return f"a tensor of {tuple(found.shape)}"
    return reprlib.repr(found)
