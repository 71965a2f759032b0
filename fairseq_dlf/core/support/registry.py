"""Implementations by name, each of which registers itself where it is written."""

import inspect
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from fairseq_dlf.core.support.errors import InputError

T = TypeVar("T")
_SPEC = re.compile(r"([\w-]+)(?:\((.*)\))?")


class Registry(Generic[T]):
    """What there is of one sort, by name.

    Args:
        sort: what the entries are called in messages, such as 'form'.
    """

    def __init__(self, sort: str):
        self.sort = sort
        self._entries: dict[str, Callable[..., T]] = {}

    def register(self, name: str) -> Callable[[Any], Any]:
        """Register a class or a function under a name; for use as a decorator.

        Raises:
            InputError: the name is taken.
        """

        def decorate(entry: Any) -> Any:
            if name in self._entries:
                raise InputError(f"there is a {self.sort} named {name} already: choose another name")
            self._entries[name] = entry
            return entry

        return decorate

    def __getitem__(self, name: str) -> Callable[..., T]:
        """The entry of a name.

        Raises:
            InputError: there is none.
        """
        if name not in self._entries:
            raise InputError(
                f"there is no {self.sort} named {name!r}: wanted one of {', '.join(sorted(self._entries))}",
                setting=self.sort,
            )
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def make(self, spec: str, **more: Any) -> T:
        """The object of a text such as 'diagonal' or 'low_rank(rank=16)'.

        Args:
            more: further arguments of its constructor.

        Raises:
            InputError: the text names no entry, or an option that the entry does not have.
        """
        name, options = parse_spec(spec, self.sort)
        self.require_options(name, options)
        return self[name](**options, **more)

    def require_options(self, name: str, options: Mapping[str, Any]) -> None:
        """Raise InputError for an option that the entry of a name does not take."""
        known = options_of(self[name])
        for option in options:
            if option not in known:
                listed = ", ".join(f"{key}={value:g}" for key, value in known.items()) or "none"
                raise InputError(
                    f"the {self.sort} {name} has no option {option}: its options are {listed}", setting=option
                )


def options_of(entry: Callable[..., Any]) -> dict[str, Any]:
    """An entry's options, which are its parameters that have a default, with these."""
    parameters = inspect.signature(entry).parameters.values()
    return {each.name: each.default for each in parameters if each.default is not inspect.Parameter.empty}


def parse_spec(spec: str, sort: str) -> tuple[str, dict[str, float]]:
    """Name and options of a text such as 'low_rank(rank=16)'.

    Raises:
        InputError: it is not such a text.
    """
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise InputError(f"the {sort} is {spec!r}, wanted NAME or NAME(OPTION=NUMBER,…)", setting=sort)
    return match[1], parse_options(match[2] or "", sort)


def parse_options(text: str, sort: str) -> dict[str, float]:
    """Options from 'margin=4,lambda_min=5'; none from ''. Whole numbers become int.

    Raises:
        InputError: it is not such a list.
    """
    options: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        name, _, value = (piece.strip() for piece in part.partition("="))
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not name or name in options or not math.isfinite(number):
            raise InputError(f"{sort} options are {text!r}, wanted NAME=NUMBER,NAME=NUMBER, each name once")
        options[name] = int(number) if number == int(number) else number
    return options
