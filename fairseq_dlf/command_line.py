"""What our commands share: types of arguments, and how a mistake of the user ends them."""

import argparse
import io
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from fairseq_dlf.core.support.errors import UserError

STOPPED = "stopped; the same command goes on from what is finished"


def run_command(
    program: str, command: Callable[[], None], options: Mapping[str, str] | None = None, stopped: str = STOPPED
) -> int:
    """Run a command, and put a mistake of the user into one line; any other exception keeps its traceback.

    Args:
        program: name that the line begins with.
        command: what to do.
        options: names of options by setting, as `option_names` gives them.
        stopped: what is said after Ctrl-C.

    Returns:
        The exit status: 0, 1 after a mistake, 130 after Ctrl-C.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a table with ± is still a table where the locale has none
    try:
        command()
    except UserError as error:
        print(f"{program}: error: {error.with_option(options or {})}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{program}: {stopped}", file=sys.stderr)
        return 130
    return 0


def option_names(parser: argparse.ArgumentParser) -> dict[str, str]:
    """Return the options of a parser and of its commands by the name that the code has for them.

    Where the code has another name than the option, the command adds it.
    """
    names: dict[str, str] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                names |= option_names(command)
        elif action.option_strings:
            names[action.dest] = action.option_strings[-1]
    return names


# Types of arguments ---------------------------------------------------------------


def count(text: str) -> int:
    """Read a whole number of 1 or more."""
    number = _whole(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"got {number}, wanted 1 or more")
    return number


def count_or_none(text: str) -> int:
    """Read a whole number of 0 or more, where 0 stands for no bound or none at all."""
    number = _whole(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"got {number}, wanted 0 or more")
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


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted a whole number") from None
