"""The generated command reference has every option of the code, and the site every part of it."""

import argparse
import re

import pytest

pytest.importorskip("fairseq")

from fairseq import options

import fairseq_dlf.translation.plugins  # noqa: F401
from documentation import reference
from documentation.hooks import on_page_markdown
from documentation.reference import SECTIONS, shown
from fairseq_dlf import core
from fairseq_dlf.images.command_line import build_parser as build_images_parser
from fairseq_dlf.translation.corpus import prepare
from fairseq_dlf.translation.tools.teaching_task import TEACHING
from tests.documentation.pages import COMMANDS, PAGES, without_fences

TABLES = {name: make() for name, make in SECTIONS.items()}
STUDENT = ("--task", "dlf_translation", "--arch", "lstm_dlf_1", "--criterion")


def rows(text):
    """Options with their defaults."""
    return dict(re.findall(r"^\| `(--[\w-]+)` \| (.*?) \|", text, re.M))


def parsed(*arguments):
    """The options of `fairseq-train` with these arguments, by name: their values, and the parser that has read them."""
    parser = options.get_training_parser()
    given = options.parse_args_and_arch(parser, ["data/bin", *arguments])
    return vars(given), {action.option_strings[-1] for action in parser._actions if action.option_strings}


FAIRSEQS = parsed("--task", "translation", "--criterion", "cross_entropy", "--arch", "lstm")[1]


@pytest.mark.parametrize(
    ("sections", "arguments"),
    [
        (("dlf_teaching",), TEACHING),
        (("dlf", "dlf_translation"), (*STUDENT, "dlf")),
        (("dlf_adaptive", "dlf_translation"), (*STUDENT, "dlf_adaptive")),
        (("student losses", "dlf_translation"), (*STUDENT, "dlf_sequence_risk")),
        (("student losses", "dlf_translation"), (*STUDENT, "dlf_actor_critic")),
        (("optimisers", "dlf_teaching"), (*TEACHING, "--optimizer", "dlf_rprop")),
        (("optimisers", "dlf_teaching"), (*TEACHING, "--optimizer", "dlf_member_adam")),
    ],
    ids=lambda value: value[-1],
)
def test_every_option_of_fairseqs_command_line_is_there(sections, arguments):
    _, known = parsed(*arguments)
    assert known - FAIRSEQS <= set().union(*(rows(TABLES[name]) for name in sections))


@pytest.mark.parametrize(
    ("section", "arguments"),
    [("dlf", (*STUDENT, "dlf")), ("dlf_translation", (*STUDENT, "dlf")), ("dlf_teaching", TEACHING)],
)
def test_defaults_are_those_of_the_parser(section, arguments):
    values, _ = parsed(*arguments)
    found = rows(TABLES[section])
    assert len(found) > 7
    for option, default in found.items():
        name = option.removeprefix("--").replace("-", "_")
        # The parser leaves out a model's own defaults until its architecture fills them in.
        if name in values:
            assert shown(values[name]) == default.strip("`").replace('{"beam": 1}', '`{"beam": 1}`'), option


def test_every_option_of_our_commands_is_there():
    for parser, section in ((prepare.build_parser(), "dlf-prepare"), (build_images_parser(), "images")):
        for command in parser._subparsers._group_actions[0].choices.values():
            wanted = {action.option_strings[-1] for action in command._actions if action.option_strings} - {"--help"}
            assert wanted <= set(rows(TABLES[section]))


def test_a_command_like_another_lists_what_is_its_own():
    adapt = TABLES["images"].split("images adapt`")[1].split("\n### ")[0]
    assert set(rows(adapt)) == {"--out", "--task", "--window", "--children", "--seeds", "--first-seed"}
    assert "without `--progress-points`, `--seed`, `--teacher-steps`, `--validation-students`, and:" in adapt


def test_every_part_is_asked_for_once():
    asked = re.findall(r"^<!-- generated: (.+) -->$", PAGES["docs/commands.md"] + PAGES["docs/api.md"], re.M)
    assert sorted(asked) == sorted(SECTIONS)


def test_a_page_gets_its_parts_and_an_unknown_one_is_an_error():
    assert on_page_markdown("a\n<!-- generated: dlf -->\nb") == f"a\n{TABLES['dlf']}\nb"
    with pytest.raises(KeyError, match="nothing"):
        on_page_markdown("<!-- generated: nothing -->")


def test_the_site_has_every_class_and_function_of_the_core():
    listed = {path.rsplit(".", 1)[1] for path in re.findall(r"^::: (\S+)$", "\n".join(TABLES.values()), re.M)}
    assert {name for name in core.__all__ if not name.isupper() and name != "Memory"} - {"SGD"} <= listed
    assert "SGD" in listed and "FORMS" not in listed


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("as --ce-share with s_t", "as `--ce-share` with s\\_t"),
        ("greedy_bleu or r_drop(start=5)", "`greedy_bleu` or `r_drop(start=5)`"),
        ("a * b | c [0, 1)", "a \\* b \\| c \\[0, 1)"),
        ("of `train` alone", "of `train` alone"),
    ],
)
def test_cells_show_code_as_code_and_the_rest_as_it_is(text, cell):
    assert reference._cell(text) == cell


def test_a_parsers_table():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float, default=0.5, help="of the student (default: %(default)s)")
    parser.add_argument("--way", choices=("up", "down"), required=True, help="where it goes")
    parser.add_argument("--also", default=None, help="more; 50%% of it")
    assert reference.command(parser).splitlines()[2:] == [
        "| `--rate` | 0.5 | of the student |",
        "| `--way` | required | where it goes (`up`, `down`) |",
        "| `--also` | none | more; 50% of it |",
    ]


# Options that pages mention ----------------------------------------------------------

# Of pip, Docker, the mutants, and our recipes.
FOREIGN = {"--index-url", "--build-arg", "--sample", "--help", "--dry-run", "--raw", "--version"}


def test_options_in_running_text_exist():
    known = set(FAIRSEQS) | FOREIGN | set(rows("\n".join(TABLES.values())))
    for optimiser in ("adam", "sgd"):
        known |= parsed("--arch", "lstm", "--optimizer", optimiser)[1]
    commanded = {word for _, words in COMMANDS for word in words}  # each of which is parsed by another test
    for page, text in PAGES.items():
        code = " ".join(re.findall(r"`([^`\n]+)`", without_fences(text)))
        unknown = set(re.findall(r"(?<![\w-])(--[a-z][\w-]*\w)(?![\w-])", code)) - known - commanded
        assert not unknown, f"{page}: {unknown}"
