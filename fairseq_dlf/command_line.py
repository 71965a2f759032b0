"""Parts that our commands share: types of arguments, options from settings, one-line error messages."""

import argparse
import io
import math
import os
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from fairseq_dlf import __version__
from fairseq_dlf.core.support.errors import UserError

Made = TypeVar("Made")
STOPPED = "stopped; the same command goes on from what is finished"


def run_command(
    program: str, command: Callable[[], None], options: Mapping[str, str] | None = None, stopped: str = STOPPED
) -> int:
    """Run a command and show a `UserError` as one line; any other exception keeps its traceback.

    Args:
        program: the name that the line begins with.
        command: the work.
        options: names of options by setting, as `option_names` returns them.
        stopped: the line after Ctrl-C.

    Returns:
        The exit status: 0, 1 after a `UserError`, 130 after Ctrl-C, 141 if the reader of the output has gone, as
        `head` does.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # some locales have no ±, which our tables contain
    try:
        command()
        sys.stdout.flush()
    except BrokenPipeError:
        # Python would write what is left when it ends, and fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except UserError as error:
        print(f"{program}: error: {error.with_option(options or {})}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{program}: {stopped}", file=sys.stderr)
        return 130
    return 0


def version_text() -> str:
    """Return what --version prints."""
    return f"fairseq_dlf {__version__}"


def add_version(parser: argparse.ArgumentParser) -> None:
    """Add --version."""
    parser.add_argument("--version", action="version", version=version_text())


def option_names(parser: argparse.ArgumentParser) -> dict[str, str]:
    """Return the options of a parser and of its commands, by their names in the code.

    Where a setting has another name in the code than its option, the command adds it.
    """
    names: dict[str, str] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                names |= option_names(command)
        elif action.option_strings:
            names[action.dest] = action.option_strings[-1]
    return names


# Settings as options ---------------------------------------------------------------


def add_settings(parser: Any, kind: type, without: Collection[str] = (), optional: bool = False) -> None:
    """Add an option for each field of a dataclass of settings, with the help in its metadata.

    Args:
        parser: a parser, or a group of one.
        kind: the dataclass; a field's metadata holds 'help' and, where it is not the field's name, 'option'.
        without: names of fields that get no option.
        optional: whether the options have no default, so that the command can choose another one.
    """
    hints = get_type_hints(kind)
    for each in fields(kind):
        if each.name in without:
            continue
        read = _type_of(hints[each.name])
        default = None if optional else each.default
        shown = "" if default is None or "(default" in each.metadata["help"] else f" (default: {_shown(default)})"
        option = each.metadata.get("option") or "--" + each.name.replace("_", "-")
        parser.add_argument(
            option,
            dest=each.name,
            type=read,
            default=default,
            metavar=_METAVARS.get(read),
            help=(each.metadata["help"] + shown).replace("%", "%%"),
        )


def settings_of(kind: type[Made], options: argparse.Namespace, **instead: Any) -> Made:
    """Return the dataclass that the options describe; a value of None leaves a field at its default.

    Args:
        instead: values that replace those of the options.
    """
    values = {each.name: getattr(options, each.name, None) for each in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in {**values, **instead}.items() if value is not None})


def _type_of(hint: Any) -> Callable[[str], Any]:
    """Return the type of argument for a field's annotation."""
    inner = [each for each in get_args(hint) if each is not type(None)]
    if type(None) in get_args(hint):
        return _type_of(inner[0])
    if get_origin(hint) is tuple:
        return numbers if Ellipsis in inner else pair
    if hint is int:
        return whole
    of_one: Callable[[str], Any] = any_number if hint is float else hint
    return of_one


def _shown(default: Any) -> str:
    return f"{default:g}" if isinstance(default, float) else str(default) if default != () else "none"


# Types of arguments ---------------------------------------------------------------


def count(text: str) -> int:
    """Read a whole number of 1 or more."""
    number = whole(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"got {number}, wanted 1 or more")
    return number


def counts(text: str) -> list[int]:
    """Read whole numbers of 0 or more, separated by commas."""
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = [-1]
    if min(numbers) < 0:
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted whole numbers such as 0,3,8")
    return numbers


def number(text: str) -> float:
    """Read a positive, finite number."""
    values = numbers(text)
    if len(values) != 1 or not 0.0 < values[0] < math.inf:
        raise argparse.ArgumentTypeError(f"got {text}, wanted a positive number")
    return values[0]


def numbers(text: str) -> tuple[float, ...]:
    """Read numbers, separated by commas."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = (math.nan,)
    if any(map(math.isnan, values)):
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted numbers such as 0.1,0.3")
    return values


def pair(text: str) -> tuple[float, float]:
    """Read a lower and an upper bound, separated by a comma."""
    values = numbers(text)
    if len(values) != 2 or not values[0] <= values[1]:
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted LOW,HIGH such as 0,1 (inf is no bound)")
    return values[0], values[1]


def place(text: str) -> Path:
    """Read the path of a file or a folder, which must not be empty."""
    if not text.strip():
        raise argparse.ArgumentTypeError("got an empty name, wanted the path of a file or folder")
    return Path(text)


def whole(text: str) -> int:
    """Read a whole number."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted a whole number") from None


def any_number(text: str) -> float:
    """Read any number; the settings check its range."""
    values = numbers(text)
    if len(values) != 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted one number")
    return values[0]


_METAVARS: dict[Callable[[str], Any], str] = {pair: "LOW,HIGH", numbers: "X[,X…]", whole: "N", any_number: "X"}
