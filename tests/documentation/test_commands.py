"""Commands, options and names in README and documentation are those of the code."""

import re
from pathlib import Path

import pytest

pytest.importorskip("fairseq")

from fairseq import options
from fairseq.criterions import CRITERION_REGISTRY
from omegaconf import OmegaConf

import fairseq_dlf.translation.plugins  # noqa: F401
from documentation.reference import DYNAMIC, shown
from experiments.choice import command_line as choice
from experiments.command_line import TABLES
from experiments.command_line import build_parser as build_experiments_parser
from fairseq_dlf.core import ESTIMATORS, FORMS, TEACHERS
from fairseq_dlf.images.command_line import build_parser as build_images_parser
from fairseq_dlf.images.losses import LOSSES
from fairseq_dlf.translation.corpus import prepare
from fairseq_dlf.translation.measures import MEASURES
from fairseq_dlf.translation.regularisers import REGULARISERS
from fairseq_dlf.translation.reports import command as report
from fairseq_dlf.translation.students.losses.criterion import StudentCriterion
from fairseq_dlf.translation.tools import average, compare, student
from fairseq_dlf.translation.tools.teaching_task import TEACHING
from tests.documentation.pages import COMMANDS, PAGES, ROOT, section

FAIRSEQ = {
    "fairseq-train": options.get_training_parser,
    "fairseq-generate": options.get_generation_parser,
    "fairseq-interactive": options.get_interactive_generation_parser,
    "fairseq-validate": options.get_validation_parser,
}
DLF = {
    "dlf-prepare": prepare.build_parser,
    "dlf-compare": compare.build_parser,
    "dlf-average": average.build_parser,
    "dlf-student": student.build_parser,
    "dlf-teacher": report.build_parser,
}
# What sets up the environment, and is not this package's.
FOREIGN = (".venv/bin/python", "pip", "git", "cd")


def of(*names):
    """The commands of these programs, as parameters of a test."""
    return [
        pytest.param(words, id=f"{page}-{words[0]}-{n}")
        for n, (page, words) in enumerate(COMMANDS)
        if words[0] in names
    ]


def after(*start):
    """What follows this beginning of a command, of all commands that have it."""
    return [words[len(start) :] for _, words in COMMANDS if tuple(words[: len(start)]) == start]


@pytest.fixture(autouse=True)
def from_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_every_command_is_of_a_known_kind():
    known = {*FAIRSEQ, *DLF, *FOREIGN, "dlf-check", "fairseq-hydra-train", "make", "python", "bash"}
    assert {words[0] for _, words in COMMANDS} - known - {words[0] for words in recipe_commands()} == set()
    assert {"fairseq-train", "fairseq-generate", *DLF} <= {words[0] for _, words in COMMANDS}


@pytest.mark.parametrize("words", of(*FAIRSEQ))
def test_fairseq_commands_parse(words):
    name, arguments = words[0], words[1:]
    assert "--user-dir" in arguments
    parsed = options.parse_args_and_arch(FAIRSEQ[name](), arguments)
    assert parsed.data == "data/bin"


@pytest.mark.parametrize("words", of(*DLF))
def test_dlf_commands_parse(words):
    assert vars(DLF[words[0]]().parse_args(words[1:]))


@pytest.mark.parametrize("words", of("dlf-check"))
def test_checks_parse_as_teaching(words):
    given = options.parse_args_and_arch(options.get_training_parser(), [*words[1:], *TEACHING])
    assert given.data == "data/bin" and given.student.startswith("checkpoints/")


def test_experiments_commands_parse():
    found = [words for words in after("python", "-m", "experiments") if words[0] != choice.NAME]
    assert len(found) > 4
    for arguments in found:
        assert build_experiments_parser(TABLES).parse_args(arguments).table in TABLES


def test_commands_of_the_choice_table_parse():
    found = after("python", "-m", "experiments", choice.NAME)
    assert len(found) == 3
    for arguments in found:
        own, _, teaching = " ".join(arguments).partition(" -- ")
        choice.build_parser().parse_args(own.split())
        assert not set(teaching.split()) & set(choice.TAKEN)
        options.parse_args_and_arch(options.get_training_parser(), ["data/bin", *teaching.split(), *TEACHING])


def test_images_commands_parse_and_are_described():
    found = after("python", "-m", "fairseq_dlf.images")
    for arguments in found:
        assert build_images_parser().parse_args(arguments).command == arguments[0]
    known = set(build_images_parser()._subparsers._group_actions[0].choices)
    assert {arguments[0] for arguments in found} == known - {"check"}
    assert set(re.findall(r"^- \*\*(\w+)\*\* ", PAGES["docs/images.md"], re.M)) == known


@pytest.mark.parametrize("words", of("fairseq-hydra-train"))
def test_hydra_commands_name_a_configuration_and_its_keys(words):
    folder, name = (words[words.index(option) + 1] for option in ("--config-dir", "--config-name"))
    configuration = OmegaConf.load(ROOT / folder / f"{name}.yaml")
    for override in (word for word in words[1:] if "=" in word):
        block, key = override.partition("=")[0].split(".")
        assert key in list(configuration[block]), override


def test_make_commands_have_their_targets():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    wanted = [word for _, words in COMMANDS if words[0] == "make" for word in words[1:] if "=" not in word]
    assert {"demo", "mutants"} <= set(wanted) <= set(targets)
    inline = re.findall(r"`make ([a-z-]+)`", "\n".join(PAGES.values()))
    assert {"docs", "test"} <= set(inline) <= set(targets)


def recipe_commands():
    """Commands that run a file of recipes/ or prepare-iwslt14.sh, the file first."""
    own = [words for _, words in COMMANDS if "-m" not in words]
    plain = [words[1:] if words[0] in ("bash", "python") else words for words in own]
    return [words for words in plain if words[0].startswith("recipes/") or words[0].endswith(".sh")]


@pytest.mark.parametrize("words", [pytest.param(w, id=f"{w[0]}-{n}") for n, w in enumerate(recipe_commands())])
def test_recipes_know_their_options(words):
    shell = Path(words[0])
    text = (ROOT / shell).read_text()
    if shell.suffix == ".sh" and shell.parent.name == "recipes":
        shared = "images_common.sh" if "images_common.sh" in text else "common.sh"
        text += (ROOT / "recipes" / shared).read_text()
    for option in (word for word in words[1:] if word.startswith("--")):
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", text), f"{shell} has no option {option}"


# Names, and their options -----------------------------------------------------------


def test_every_loss_of_students_is_described():
    losses = {name for name, kind in CRITERION_REGISTRY.items() if issubclass(kind, StudentCriterion)}
    assert len(losses) > 8
    assert losses - set(DYNAMIC) == set(re.findall(r"^\| `(dlf_[a-z_]+)` \|", PAGES["docs/baselines.md"], re.M))
    for name in LOSSES:
        assert f"`{name}`" in section("docs/images.md", "Data, models and losses"), name


@pytest.mark.parametrize(
    ("page", "heading", "registry"),
    [
        ("docs/choosing.md", "Forms of Φ", FORMS),
        ("docs/choosing.md", "Teachers", TEACHERS),
        ("docs/choosing.md", "Estimators", ESTIMATORS),
        ("docs/choosing.md", "Measure", MEASURES),
        ("docs/translation.md", "Taught weights of regularisers", REGULARISERS),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_name_is_described_and_no_other(page, heading, registry):
    rows = re.findall(r"^\| `(\w+)[^`]*`(?: \(images\))? \|", section(page, heading), re.M)
    assert set(rows) - {"expected_accuracy"} == set(registry)


SPECS = re.findall(r"`\"?(\w+)\((\w+=[^)…]*)\)\"?`", "\n".join(PAGES.values()))


@pytest.mark.parametrize("name", sorted({name for name, _ in SPECS}))
def test_options_in_brackets_exist(name):
    """In running text: `bins(number=8,kinds=0)`."""
    registry = next(each for each in (FORMS, TEACHERS, ESTIMATORS, MEASURES, REGULARISERS, LOSSES) if name in each)
    for spec in (each for each in SPECS if each[0] == name):
        registry.parse("{}({})".format(*spec))


@pytest.mark.parametrize(("name", "registry"), [("controller", TEACHERS), ("reinforce", ESTIMATORS)])
def test_tables_of_options_have_the_defaults_of_the_code(name, registry):
    table = re.search(rf"^\| option of `{name}\(…\)` .*\n\|---.*\n((?:\|.*\n)+)", PAGES["docs/images.md"], re.M)[1]
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|", table, re.M))
    assert rows == {option: shown(value) for option, value in registry.options(name).items()}
