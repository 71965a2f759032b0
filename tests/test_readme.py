"""The README's commands parse, its options and defaults are the code's, and its files exist."""

import re
import shlex
from pathlib import Path

import pytest

pytest.importorskip("fairseq")

from fairseq import options
from fairseq.criterions import CRITERION_REGISTRY
from omegaconf import OmegaConf

import fairseq_dlf.translation.plugins  # noqa: F401
from experiments.choice import command_line as choice
from experiments.command_line import TABLES
from experiments.command_line import build_parser as build_experiments_parser
from fairseq_dlf.images.command_line import build_parser as build_images_parser
from fairseq_dlf.images.losses import LOSSES
from fairseq_dlf.translation.corpus import prepare
from fairseq_dlf.translation.reports import command as report
from fairseq_dlf.translation.students.losses.criterion import StudentCriterion
from fairseq_dlf.translation.teachers.model import DlfTeacherConfig
from fairseq_dlf.translation.tools import average, compare
from fairseq_dlf.translation.tools.teaching_task import TEACHING

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
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
    "dlf-teacher": report.build_parser,
}
# What sets up the environment, and is not this package's.
FOREIGN = ("pip", "pytest", "git", "cd")
# The rows of the options table, by the section they stand in.
OPTION_HEADINGS = {
    "Criterion `dlf`": ["--criterion=dlf", "--arch=lstm_dlf_1"],
    "Losses to compare with": ["--criterion=dlf_sequence_risk", "--arch=lstm_dlf_1"],
    "Task `dlf_teaching`, criterion `dlf_teaching`, model `dlf_teacher`": [
        "--task=dlf_teaching",
        "--criterion=dlf_teaching",
        "--arch=dlf_teacher",
    ],
    "Task `dlf_translation`": ["--task=dlf_translation", "--arch=lstm_dlf_1"],
}


def bash_commands():
    """The commands of all fenced bash blocks, each as a list of words without redirections."""
    found = []
    for block in re.findall(r"^```bash\n(.*?)^```", README, re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if ">" in words:
                words = words[: words.index(">")]
            if words:
                found.append(words)
    return found


COMMANDS = bash_commands()


def of(*names):
    return [pytest.param(words, id=f"{words[0]}-{n}") for n, words in enumerate(COMMANDS) if words[0] in names]


def section(heading):
    """The README's text under a heading, up to the next heading."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", README, re.M | re.S)
    assert found, f"README.md has no heading {heading!r}"
    return found[1]


@pytest.fixture(autouse=True)
def from_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_every_command_is_of_a_known_kind():
    known = {*FAIRSEQ, *DLF, *FOREIGN, "dlf-check", "fairseq-hydra-train", "make", "python", "bash"}
    unknown = {words[0] for words in COMMANDS} - known - {words[0] for words in recipe_commands()}
    assert not unknown
    assert {"fairseq-train", "fairseq-generate", *DLF} <= {words[0] for words in COMMANDS}


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


def test_every_loss_of_students_is_described():
    losses = {name for name, kind in CRITERION_REGISTRY.items() if issubclass(kind, StudentCriterion)}
    assert len(losses) > 8
    described = set(re.findall(r"^\| `(dlf_[a-z_]+)` \|", section("Losses to compare with"), re.M))
    assert losses - {"dlf", "dlf_criterion", "dlf_adaptive"} == described


def test_experiments_commands_parse():
    found = [words[3:] for words in COMMANDS if words[:3] == ["python", "-m", "experiments"]]
    assert len(found) > 1
    for arguments in found:
        if arguments[0] != choice.NAME:
            assert build_experiments_parser(TABLES).parse_args(arguments).table in TABLES


def test_commands_of_the_choice_table_parse():
    found = [words[4:] for words in COMMANDS if words[:4] == ["python", "-m", "experiments", choice.NAME]]
    assert len(found) == 3
    for arguments in found:
        own, _, teaching = " ".join(arguments).partition(" -- ")
        choice.build_parser().parse_args(own.split())
        assert not set(teaching.split()) & set(choice.TAKEN)
        options.parse_args_and_arch(options.get_training_parser(), ["data/bin", *teaching.split(), *TEACHING])


def images_commands():
    return [words[3:] for words in COMMANDS if words[:3] == ["python", "-m", "fairseq_dlf.images"]]


@pytest.mark.parametrize("arguments", [pytest.param(words, id=words[0]) for words in images_commands()])
def test_images_commands_parse(arguments):
    assert build_images_parser().parse_args(arguments).command == arguments[0]


def test_every_images_command_and_loss_is_described():
    known = set(build_images_parser()._subparsers._group_actions[0].choices)
    assert {arguments[0] for arguments in images_commands()} == known - {"check"}
    assert set(re.findall(r"^- \*\*(\w+)\*\* ", section("Image classification"), re.M)) == known
    for name in LOSSES:
        assert f"`{name}`" in section("Image classification"), name


def test_the_options_of_teach_have_the_defaults_of_the_code():
    parsed = vars(build_images_parser().parse_args(["teach", "--out", "x"]))
    rows = re.findall(r"^\| `(--[a-z-]+)` \| ([^|]*) \|", section("Options of `teach`"), re.M)
    assert len(rows) > 10
    for option, default in rows:
        assert readable(parsed[option.removeprefix("--").replace("-", "_")]) == default, option


@pytest.mark.parametrize("words", of("fairseq-hydra-train"))
def test_hydra_commands_name_a_configuration_and_its_keys(words):
    folder, name = (words[words.index(option) + 1] for option in ("--config-dir", "--config-name"))
    configuration = OmegaConf.load(ROOT / folder / f"{name}.yaml")
    for override in (word for word in words[1:] if "=" in word):
        block, key = override.partition("=")[0].split(".")
        assert key in list(configuration[block]), override


def test_make_commands_have_their_targets():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    wanted = [word for words in COMMANDS if words[0] == "make" for word in words[1:] if "=" not in word]
    assert {"demo", "test"} <= set(wanted) <= set(targets)


def recipe_commands():
    """Commands that run a file of recipes/ or prepare-iwslt14.sh, the file first."""
    own = [words for words in COMMANDS if "-m" not in words]
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


@pytest.mark.parametrize(("heading", "arguments"), OPTION_HEADINGS.items(), ids=range(len(OPTION_HEADINGS)))
def test_the_options_table_has_the_defaults_of_the_code(heading, arguments):
    parser = options.get_training_parser()
    parsed = options.parse_args_and_arch(parser, ["data/bin", "--user-dir", "fairseq_dlf", *arguments])
    # The parser leaves out a model's own defaults until its architecture fills them in.
    known = {**vars(DlfTeacherConfig()), **vars(parsed)}
    rows = re.findall(r"^\| `(--[a-z-]+)` \| ([^|]*) \|", section(heading), re.M)
    assert len(rows) > 3
    for option, default in rows:
        name = option.removeprefix("--").replace("-", "_")
        assert name in known, f"{option} is no option of {heading}"
        assert readable(known[name]) == default.strip(" `"), option


def readable(value):
    """A default as the table writes it."""
    if value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)


def test_the_files_of_the_code_list_exist():
    named = re.findall(r"^\s*(?:\d+\.|-|\|) `([\w./-]+)`", section("Where the code is"), re.M)
    assert len(named) > 5
    for name in named:
        assert (ROOT / name).exists(), name


def test_links_to_files_lead_somewhere():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    for link in links:
        assert (ROOT / link).exists(), link


def test_the_changelog_has_the_version_of_the_package():
    assert f"## [{fairseq_dlf.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
