"""Trainings that something else started: what their log says of their options must be what the table declares."""

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from experiments import circumstances
from fairseq_dlf.core.support.errors import InputError

# What stands for the value of an option without one.
GIVEN = "given"
CONFIGURED = "| fairseq_cli.train | {"
# Options that change no figure, or name folders, which may have moved.
WITHOUT_EFFECT = {
    "user-dir": "a folder",
    "save-dir": "a folder",
    "student": "a folder",
    "teacher": "a folder",
    "finetune-from-model": "a folder",
    "log-format": "how figures are printed",
    "log-interval": "how often figures are printed",
    "num-workers": "how data is read",
}


def require_same_options(text: str, command: Sequence[str], run: str) -> None:
    """Raise InputError if the options in a log are not those of the declared command.

    Args:
        text: log of fairseq-train, whose last configuration counts.
        command: words after `fairseq-train DATA`.
        run: name of the run, for the message.
    """
    logged = _logged(text)
    if not logged:
        raise InputError(f"the log of {run} has no configuration of fairseq-train: delete its folder to run it again")
    for name, value in _options(command):
        if name in WITHOUT_EFFECT:
            continue
        found = logged.get(name.replace("-", "_"), [])
        if not any(_same(value, each) for each in found):
            shown = " or ".join(sorted({repr(each) for each in found})) or "nothing"
            raise InputError(
                f"{run} was trained with {name} {shown}, the table declares {value}: "
                "declare that, or delete the run's folder"
            )


def commit_of(text: str) -> str:
    """Return the commit of the repository whose plug-in a log names, as it is now, or 'unknown'."""
    folders = [folder for folder in _logged(text).get("user_dir", []) if isinstance(folder, str)]
    code = Path(folders[0]).parent if folders else Path()
    return circumstances.commit(code) if folders and code.is_dir() else "unknown"


def _logged(text: str) -> dict[str, list[Any]]:
    """Return the options in a log, whose last configuration counts."""
    lines = [line for line in text.splitlines() if CONFIGURED in line]
    return _leaves(lines[-1].split("| fairseq_cli.train | ", 1)[1]) if lines else {}


def _options(command: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield names without dashes, with their values."""
    for place, word in enumerate(command):
        if word.startswith("--"):
            after = command[place + 1] if place + 1 < len(command) else "--"
            yield word[2:], GIVEN if after.startswith("--") else after


def _leaves(text: str) -> dict[str, list[Any]]:
    """Return the values of every name in nested dictionaries and namespaces."""
    found: dict[str, list[Any]] = {}
    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError:
        return found
    for name, value in _pairs(tree):
        try:
            literal = ast.literal_eval(value)
        except ValueError:
            continue
        # A choice stands in its group: 'optimizer': {'_name': 'adam', …}.
        found.setdefault(name, []).append(literal.get("_name") if isinstance(literal, dict) else literal)
    return found


def _pairs(tree: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            keys = zip(node.keys, node.values, strict=True)
            yield from ((str(key.value), value) for key, value in keys if isinstance(key, ast.Constant))
        elif isinstance(node, ast.Call):
            yield from ((str(keyword.arg), keyword.value) for keyword in node.keywords)


def _same(declared: str, logged: Any) -> bool:
    if isinstance(logged, list | tuple) and len(logged) == 1:
        logged = logged[0]
    if declared == GIVEN:
        return logged is not None and logged is not False
    if isinstance(logged, bool):
        return False
    if isinstance(logged, int | float):
        try:
            return float(declared) == float(logged)
        except ValueError:
            return False
    return declared == str(logged)
