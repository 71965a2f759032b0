"""The command reference: Markdown from the parsers, the dataclasses of options and the registries of the code.

`SECTIONS` has each part by the name that docs/commands.md asks for it with.
"""

import argparse
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, fields
from enum import Enum
from pathlib import Path
from typing import Any

from fairseq.criterions import CRITERION_DATACLASS_REGISTRY, CRITERION_REGISTRY
from fairseq.models import MODEL_DATACLASS_REGISTRY
from fairseq.registry import REGISTRIES
from fairseq.tasks import TASK_DATACLASS_REGISTRY

import fairseq_dlf.translation.plugins  # noqa: F401  Registers what the tables list.
from benchmarks.__main__ import build_parser as build_benchmarks_parser
from experiments import source_use
from experiments.choice import command_line as choice
from experiments.command_line import TABLES
from experiments.command_line import build_parser as build_experiments_parser
from fairseq_dlf import core
from fairseq_dlf.core.support.registry import Registry
from fairseq_dlf.core.teaching.estimators import ESTIMATORS
from fairseq_dlf.core.teaching.forms import FORMS
from fairseq_dlf.core.teaching.teachers import TEACHERS
from fairseq_dlf.images.command_line import build_parser as build_images_parser
from fairseq_dlf.images.losses import LOSSES
from fairseq_dlf.images.measures import MEASURES as IMAGE_MEASURES
from fairseq_dlf.translation.corpus import prepare
from fairseq_dlf.translation.measures import MEASURES as TRANSLATION_MEASURES
from fairseq_dlf.translation.regularisers import REGULARISERS
from fairseq_dlf.translation.reports import command as report
from fairseq_dlf.translation.students.losses.criterion import StudentCriterion
from fairseq_dlf.translation.tools import average, compare, student

PACKAGE = "fairseq_dlf"
ROOT = Path(__file__).parents[1]
# A default that a help tells; and what is code in a help: an option, and a name such as greedy_bleu, though not s_t.
_TOLD = re.compile(r" \(default: ([^)]*)\)")
_CODE = re.compile(r"(`[^`]*`|(?<![\w-])--[a-z][\w-]*|\b[a-z]\w*_[a-z]{2,}\w*(?:\([^)]*\))?)")
# The dynamic losses, which have sections of their own; `dlf_criterion` is the long name of `dlf`.
DYNAMIC = ("dlf", "dlf_criterion", "dlf_adaptive")


# Options of fairseq's commands: fields of dataclasses -------------------------------


def options_of(*kinds: type) -> str:
    """Return the table of what our own classes among the dataclasses' ancestors declare."""
    rows = []
    for kind in kinds:
        names = {name for each in kind.__mro__ if _is_ours(each) for name in each.__dict__.get("__annotations__", ())}
        for each in fields(kind):
            # '${…}' is the value of another option.
            if each.name in names and not str(_default_of(each)).startswith("${"):
                option = "--" + each.name.replace("_", "-")
                rows.append((f"`{option}`", shown(_default_of(each)), _help_of(each)))
    return _table(("option", "default", "meaning"), rows)


def _is_ours(kind: type) -> bool:
    return kind.__module__.split(".")[0] == PACKAGE


def _default_of(each: "Field[Any]") -> Any:
    return None if each.default is MISSING else each.default


def _help_of(each: "Field[Any]") -> str:
    text: str = each.metadata.get("help", "")
    kind = each.type
    return _with_choices(
        text, [value.value for value in kind] if isinstance(kind, type) and issubclass(kind, Enum) else ()
    )


def student_losses() -> str:
    """Return a section for each criterion of students that is no dynamic loss."""
    parts = []
    for name, kind in sorted(CRITERION_REGISTRY.items()):
        if issubclass(kind, StudentCriterion) and name not in DYNAMIC:
            table = options_of(CRITERION_DATACLASS_REGISTRY[name])
            parts.append(f"### Criterion `{name}`\n\n{_first_line(kind)}\n\n{table}")
    return "\n".join(parts)


def optimisers() -> str:
    """Return a section for each of our optimisers and schedules."""
    parts = []
    for sort, option in (("optimizer", "--optimizer"), ("lr_scheduler", "--lr-scheduler")):
        found = REGISTRIES[sort]
        for name, kind in found["registry"].items():
            if _is_ours(kind):
                table = options_of(found["dataclass_registry"][name])
                parts.append(f"### `{option} {name}`\n\n{_first_line(kind)}\n\n{table}")
    return "\n".join(parts)


# Options of our own commands: actions of parsers ------------------------------------


def command(parser: argparse.ArgumentParser, without: Iterable[str] = ()) -> str:
    """Return the table of a parser's options.

    Args:
        without: options to leave out.
    """
    rows = []
    for action in parser._actions:
        if isinstance(action, (argparse._HelpAction, argparse._VersionAction)) or _name_of(action) in without:
            continue
        text = (action.help or "").replace("%(default)s", shown(action.default)).replace("%%", "%")
        told = _TOLD.search(text)
        # argparse calls a list of nothing or more required, too.
        default = "required" if action.required and action.nargs != "*" else told[1] if told else shown(action.default)
        text = _with_choices(_TOLD.sub("", text), action.choices or ())
        rows.append((f"`{_name_of(action)}`", default, text))
    return _table(("option", "default", "meaning"), rows)


def _name_of(action: argparse.Action) -> str:
    return action.option_strings[-1] if action.option_strings else str(action.metavar or action.dest)


def commands(parser: argparse.ArgumentParser, program: str, like: str = "", alike: Iterable[str] = ()) -> str:
    """Return a section for each of a parser's commands.

    Args:
        program: what a command line begins with.
        like: a command whose options others share.
        alike: these others, of which only the differences are listed.
    """
    action = next(each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    helps = {each.dest: _sentence(_capital(each.help or "")) for each in action._choices_actions}
    parts = []
    for name, each in action.choices.items():
        shared: set[str] = set()
        text = helps[name]
        if name in alike:
            own, others = ({_name_of(one) for one in parsers._actions} for parsers in (each, action.choices[like]))
            shared = own & others - {"--out"}
            left = sorted(others - own)
            text += f" The options are those of `{like}`"
            text += f" without {', '.join(f'`{option}`' for option in left)}, and:" if left else ", and:"
        parts.append(f"### `{program} {name}`\n\n{text}\n\n{command(each, shared)}")
    return "\n".join(parts)


# Names with options: registries -----------------------------------------------------


def names(registry: Registry[Any], describe: Callable[[Any], str] | None = None) -> str:
    """Return the table of a registry's names, their options and the first lines of their docstrings."""
    rows = []
    for name in registry:
        options = ", ".join(f"`{option}={shown(value)}`" for option, value in registry.options(name).items())
        rows.append((f"`{name}`", options or "—", (describe or _first_line)(registry[name])))
    return _table((registry.sort, "options with defaults", "what it is"), rows)


# The public names of the core --------------------------------------------------------


def python_names(part: str) -> str:
    """Return what mkdocstrings replaces by the documentation of the classes and functions of a part of the core."""
    found = []
    for name in core.__all__:
        entry = getattr(core, name)
        if inspect.isclass(entry) or inspect.isfunction(entry):
            path = f"{entry.__module__}.{name}"
            if path.startswith(f"{core.__name__}.{part}."):
                found.append(path)
    return "\n".join(f"::: {path}\n" for path in sorted(found))


# Markdown ---------------------------------------------------------------------------


def shown(value: Any) -> str:
    """Return a default as the tables write it."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, Path) and value.is_absolute():
        value = value.relative_to(ROOT)
    if value is None or value == "" or value == () or value == []:
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (tuple, list)):
        return ", ".join(map(shown, value))
    return f"{value:g}" if isinstance(value, (int, float)) else f"`{value}`" if "{" in str(value) else str(value)


def _first_line(entry: Any) -> str:
    return _sentence((entry.__doc__ or "").strip().partition("\n")[0])


def _sentence(text: str) -> str:
    return text if not text or text.endswith(".") else f"{text}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _with_choices(text: str, choices: Iterable[Any]) -> str:
    """Return a help with its choices, unless it mentions them all."""
    listed = list(map(str, choices))
    if all(re.search(rf"(?<!\w){re.escape(each)}(?!\w)", text) for each in listed):
        return text
    return f"{text} ({', '.join(f'`{each}`' for each in listed)})"


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "".join("| " + " | ".join(map(_cell, line)) + " |\n" for line in lines)


def _cell(text: str) -> str:
    """Return text as a cell: options and names as code, and nothing that Markdown would read as its own."""
    cell = ""
    for place, piece in enumerate(_CODE.split(" ".join(text.split()))):
        is_code = place % 2
        cell += f"`{piece.strip('`')}`" if is_code else re.sub(r"[*_<|\[\]]", r"\\\g<0>", piece)
    return cell


SECTIONS: Mapping[str, Callable[[], str]] = {
    "dlf_teaching": lambda: options_of(
        TASK_DATACLASS_REGISTRY["dlf_teaching"], MODEL_DATACLASS_REGISTRY["dlf_teacher"]
    ),
    "dlf": lambda: options_of(CRITERION_DATACLASS_REGISTRY["dlf"]),
    "dlf_adaptive": lambda: options_of(CRITERION_DATACLASS_REGISTRY["dlf_adaptive"]),
    "dlf_translation": lambda: options_of(TASK_DATACLASS_REGISTRY["dlf_translation"]),
    "student losses": student_losses,
    "optimisers": optimisers,
    "dlf-prepare": lambda: commands(prepare.build_parser(), "dlf-prepare"),
    "dlf-compare": lambda: command(compare.build_parser()),
    "dlf-average": lambda: command(average.build_parser()),
    "dlf-student": lambda: command(student.build_parser()),
    "dlf-teacher": lambda: command(report.build_parser()),
    "images": lambda: commands(build_images_parser(), "python -m fairseq_dlf.images", "teach", ("check", "adapt")),
    "experiments": lambda: command(build_experiments_parser(TABLES)),
    "choice": lambda: command(choice.build_parser()),
    "source-use": lambda: command(source_use.build_parser()),
    "benchmarks": lambda: command(build_benchmarks_parser()),
    "forms": lambda: names(FORMS),
    "teachers": lambda: names(TEACHERS),
    "estimators": lambda: names(ESTIMATORS),
    "translation measures": lambda: names(TRANSLATION_MEASURES),
    "image measures": lambda: names(IMAGE_MEASURES),
    "regularisers": lambda: names(REGULARISERS),
    "core.hypergradient": lambda: python_names("hypergradient"),
    "core.teaching": lambda: python_names("teaching"),
    "core.support": lambda: python_names("support"),
    "image losses": lambda: names(LOSSES, lambda family: _sentence(family.help)),
}
