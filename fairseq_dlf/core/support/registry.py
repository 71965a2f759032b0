"""Implementations by name, each of which registers itself where it is written."""

import inspect
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from fairseq_dlf.core.support.errors import InputError

T = TypeVar("T")
_SPEC = re.compile(r"([\w-]+)(?:\((.*)\))?")
# The commas of a list that stand outside of brackets.
_BETWEEN = re.compile(r",(?![^(]*\))")


def split_specs(text: str) -> list[str]:
    """Cut a list of specs, 'diagonal,bins(number=4,linear=1)', at its commas outside of brackets."""
    return [part.strip() for part in _BETWEEN.split(text)]


class Registry(Generic[T]):
    """What there is of one sort, by name.

    Args:
        sort: what the entries are called in messages, and the setting that names one, such as 'form'.
        options_setting: the setting that holds their options; None where a spec holds both.
        name_attribute: an attribute of the entries that their name is written to; None for entries that do not
            know it.
    """

    def __init__(self, sort: str, options_setting: str | None = None, name_attribute: str | None = None):
        self.sort = sort
        self._name_attribute = name_attribute
        self._options_setting = options_setting or sort
        self._entries: dict[str, Any] = {}

    def register(self, name: str) -> Callable[[Any], Any]:
        """Register a class or a function under a name; for use as a decorator.

        Raises:
            InputError: the name is taken.
        """

        def decorate(entry: Any) -> Any:
            if name in self._entries:
                raise InputError(f"there is a {self.sort} named {name} already: choose another name")
            self._entries[name] = entry
            if self._name_attribute is not None:
                setattr(entry, self._name_attribute, name)
            return entry

        return decorate

    def __getitem__(self, name: str) -> Any:
        """Return the class or function of a name, which makes what the registry is of.

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
        """Return the object of a text such as 'diagonal' or 'low_rank(rank=16)'.

        Args:
            more: further arguments of its constructor.

        Raises:
            InputError: as `parse`.
        """
        name, options = self.parse(spec)
        return self.maker(name)(**options, **more)

    def make_each(self, specs: str) -> tuple[T, ...]:
        """Return the objects of a text such as 'r_drop(start=0.3),label_smoothing', each name once; none of ''.

        Raises:
            InputError: as `parse`, or a name comes twice.
        """
        texts = split_specs(specs) if specs.strip() else []
        names = [self.parse(text)[0] for text in texts]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InputError(f"the {self.sort} {twice[0]} is named twice in {specs!r}: once is enough", self.sort)
        return tuple(self.make(text) for text in texts)

    def maker(self, name: str) -> Callable[..., T]:
        """Return what makes the object of a name; its parameters with a default are the options."""
        found: Callable[..., T] = self[name]
        return found

    def parse(self, spec: str) -> tuple[str, dict[str, float]]:
        """Return name and options of a text such as 'low_rank(rank=16)'.

        Raises:
            InputError: the text names no entry, or an option that the entry does not have.
        """
        match = _SPEC.fullmatch(spec)
        if match is None:
            raise InputError(f"the {self.sort} is {spec!r}, wanted NAME or NAME(OPTION=NUMBER,…)", setting=self.sort)
        name, options = match[1], self.parse_options(match[2] or "")
        self.require_options(name, options)
        return name, options

    def parse_options(self, text: str) -> dict[str, float]:
        """Return options from 'margin=4,lambda_min=5'; none from ''. Whole numbers become int.

        Raises:
            InputError: the text is no such list.
        """
        options: dict[str, float] = {}
        for part in filter(None, text.split(",")):
            name, _, value = (piece.strip() for piece in part.partition("="))
            number = _number(value)
            if not name or name in options or not math.isfinite(number):
                raise InputError(
                    f"{self.sort} options are {text!r}, wanted NAME=NUMBER,NAME=NUMBER, each name once",
                    setting=self._options_setting,
                )
            options[name] = int(number) if number == int(number) else number
        return options

    def options(self, name: str) -> dict[str, Any]:
        """Return the options of a name with their defaults."""
        return options_of(self.maker(name))

    def require_options(self, name: str, options: Mapping[str, Any]) -> None:
        """Raise InputError for an option that the entry of a name does not take."""
        known = self.options(name)
        unknown = sorted(set(options) - set(known))
        if unknown:
            listed = ", ".join(f"{key}={_shown(value)}" for key, value in known.items()) or "none"
            raise InputError(
                f"the {self.sort} {name} has no option {', '.join(unknown)}: its options are {listed}",
                setting=self._options_setting,
            )


def options_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the parameters of a function or class that have a default, with these."""
    parameters = inspect.signature(function).parameters.values()
    return {each.name: each.default for each in parameters if each.default is not inspect.Parameter.empty}


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _shown(default: Any) -> str:
    return f"{default:g}" if isinstance(default, float) else str(default)
