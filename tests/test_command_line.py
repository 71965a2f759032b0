"""What our commands share: argument types, and the one line of a mistake."""

import argparse
from pathlib import Path

import pytest

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
        (command_line.count_or_none, "0", 0),
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
        (command_line.count_or_none, "-1", "got -1, wanted 0 or more"),
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
