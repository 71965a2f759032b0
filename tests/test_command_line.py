"""What our commands share: argument types, and the one line of a mistake."""

import argparse
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import fairseq_dlf
from fairseq_dlf import command_line
from fairseq_dlf.core.support.errors import InputError


def failing(error):
    def command():
        raise error

    return command


def test_a_mistake_is_one_line_with_the_option(capsys):
    error = InputError("batch_size is 0, but must be positive", setting="batch_size")
    assert command_line.run_command("dlf-x", failing(error), {"batch_size": "--batch-size"}) == 1
    assert capsys.readouterr().err == "dlf-x: error: batch_size is 0, but must be positive (--batch-size)\n"


def test_every_other_exception_keeps_its_traceback():
    for error in (ValueError("ours to mend"), OSError(5, "Input/output error")):
        with pytest.raises(type(error)) as caught:
            command_line.run_command("dlf-x", failing(error))
        assert caught.value is error


def test_interruption_and_success_have_their_status(capsys):
    assert command_line.run_command("dlf-x", failing(KeyboardInterrupt()), stopped="stopped here") == 130
    assert capsys.readouterr().err == "dlf-x: stopped here\n"
    assert command_line.run_command("dlf-x", lambda: None) == 0
    assert capsys.readouterr() == ("", "")


def test_a_reader_that_has_gone_ends_the_command_quietly():
    code = "from fairseq_dlf.command_line import run_command\nimport sys\n"
    code += "sys.exit(run_command('x', lambda: [print('line') for _ in range(100_000)] and None))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == b"line\n"
    process.stdout.close()
    assert (process.wait(60), process.stderr.read()) == (141, b"")
    process.stderr.close()


def test_options_are_found_by_the_name_of_their_setting():
    parser = argparse.ArgumentParser()
    parser.add_argument("-o", "--out")
    commands = parser.add_subparsers()
    commands.add_parser("teach").add_argument("--batch-size")
    commands.add_parser("train").add_argument("--lr", dest="learning_rate")
    names = command_line.option_names(parser)
    assert (names["out"], names["batch_size"], names["learning_rate"]) == ("--out", "--batch-size", "--lr")


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (command_line.count, "3", 3),
        (command_line.counts, "0,3", [0, 3]),
        (command_line.number, "1e-3", 1e-3),
        (command_line.numbers, "0.1,-3", (0.1, -3.0)),
        (command_line.pair, "0,inf", (0.0, float("inf"))),
        (command_line.place, "a folder/x", Path("a folder/x")),
    ],
)
def test_arguments_are_read(kind, text, value):
    assert kind(text) == value


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        (command_line.count, "0", "got 0, wanted 1 or more"),
        (command_line.count, "1.5", "got '1.5', wanted a whole number"),
        (command_line.counts, "1,x", "got '1,x', wanted whole numbers such as"),
        (command_line.counts, "-1", "got '-1', wanted whole numbers such as"),
        (command_line.number, "0", "got 0, wanted a positive number"),
        (command_line.number, "inf", "got inf, wanted a positive number"),
        (command_line.number, "1,2", "got 1,2, wanted a positive number"),
        (command_line.numbers, "nan", "got 'nan', wanted numbers such as"),
        (command_line.numbers, "", "got '', wanted numbers such as"),
        (command_line.pair, "1,0", "got '1,0', wanted LOW,HIGH"),
        (command_line.pair, "1", "got '1', wanted LOW,HIGH"),
        (command_line.place, " ", "got an empty name, wanted the path"),
    ],
)
def test_wrong_arguments_are_refused(kind, text, words):
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        kind(text)
    assert words in str(caught.value)


# Settings as options ---------------------------------------------------------------


def setting(default, text, option=None):
    return field(default=default, metadata={"help": text, "option": option})


@dataclass(frozen=True)
class Settings:
    name: str = setting("plain", "of the thing")
    big_size: int = setting(3, "how large, in % of all")
    rate: float = setting(1e-4, "how fast", "--lr")
    depth: int | None = setting(None, "how deep (default: as deep as it is large)")
    bounds: tuple[float, float] | None = setting(None, "LOW,HIGH")
    marks: tuple[float, ...] = setting((), "where to halt")


def parsed(words, **more):
    parser = argparse.ArgumentParser()
    command_line.add_settings(parser, Settings, **more)
    return parser, parser.parse_args(words.split())


def test_every_setting_is_an_option():
    words = "--name fancy --big-size -2 --lr 0.5 --depth 4 --bounds 0,inf --marks 0.5,0.75"
    wanted = Settings("fancy", -2, 0.5, 4, (0.0, float("inf")), (0.5, 0.75))
    assert command_line.settings_of(Settings, parsed(words)[1]) == wanted
    assert command_line.settings_of(Settings, parsed("")[1]) == Settings()


def test_the_help_says_what_a_setting_is_and_its_default():
    text = " ".join(parsed("")[0].format_help().split())
    assert "--name NAME of the thing (default: plain)" in text
    assert "--big-size N how large, in % of all (default: 3)" in text
    assert "--lr X how fast (default: 0.0001)" in text
    assert "--depth N how deep (default: as deep as it is large)" in text
    assert "--bounds LOW,HIGH LOW,HIGH --" in text
    assert "--marks X[,X…] where to halt (default: none)" in text


def test_some_settings_are_no_options():
    with pytest.raises(SystemExit):
        parsed("--depth 3", without=("depth",))
    assert not hasattr(parsed("", without=("depth",))[1], "depth")


def test_optional_settings_leave_their_defaults_to_others():
    options = parsed("--lr 2", optional=True)[1]
    assert (options.rate, options.name, options.marks) == (2.0, None, None)
    assert command_line.settings_of(Settings, options, name="other", rate=None) == Settings(name="other")
    assert command_line.settings_of(Settings, options) == Settings(rate=2.0)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("--big-size 2.5", "argument --big-size: got '2.5', wanted a whole number"),
        ("--depth x", "argument --depth: got 'x', wanted a whole number"),
        ("--lr 1,2", "argument --lr: got '1,2', wanted one number"),
        ("--bounds 1", "argument --bounds: got '1', wanted LOW,HIGH"),
        ("--marks a", "argument --marks: got 'a', wanted numbers"),
    ],
)
def test_settings_of_a_wrong_type_are_refused(capsys, words, text):
    with pytest.raises(SystemExit):
        parsed(words)
    assert text in capsys.readouterr().err


# Our commands ----------------------------------------------------------------------

COMMANDS = {
    "dlf-average": "fairseq_dlf.translation.tools.average",
    "dlf-check": "fairseq_dlf.translation.tools.check",
    "dlf-compare": "fairseq_dlf.translation.tools.compare",
    "dlf-prepare": "fairseq_dlf.translation.corpus.prepare",
    "dlf-student": "fairseq_dlf.translation.tools.student",
    "dlf-teacher": "fairseq_dlf.translation.reports.command",
}
# Each takes a good part of a second to import, or many.
HEAVY = ("torch", "fairseq", "numpy", "sacrebleu", "sacremoses", "matplotlib")


def test_all_commands_are_here():
    text = (Path(fairseq_dlf.__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    for name, module in COMMANDS.items():
        assert f'{name} = "{module}:main"' in text
    assert text.count(':main"') == len(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_and_version_wait_for_no_large_library(name):
    code = (
        f"import sys\nfrom {COMMANDS[name]} import main\n"
        "for option in ('--help', '--version'):\n"
        "    try:\n        assert main([option]) == 0\n"
        "    except SystemExit as end:\n        assert not end.code\n"
        f"print(*(name for name in {HEAVY} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=60)
    assert done.returncode == 0, done.stderr
    *text, version, loaded = done.stdout.split("\n")[:-1]
    assert any(line.startswith(f"usage: {name} ") for line in text)
    assert (version, loaded) == (f"fairseq_dlf {fairseq_dlf.__version__}", "")
