"""What is filtered from the output of fairseq's commands, and what is not."""

import logging
import sys
import warnings

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.translation.hooks import quiet


def record(message):
    return logging.LogRecord("fairseq_cli.train", logging.INFO, "train.py", 1, message, None, None)


def test_the_command_stands_in_place_of_a_long_configuration(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["fairseq-train", "a data-bin", "--lr=1"])
    long = record({"_name": None, "common": {str(n): None for n in range(500)}})
    assert quiet.show_command(long)
    assert long.getMessage() == "command: fairseq-train 'a data-bin' --lr=1 (checkpoints hold the whole configuration)"
    for other in ("x" * 3000, {"_name": None, "common": {}}):
        left = record(other)
        assert quiet.show_command(left) and left.msg is other


def test_a_mistake_of_the_user_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/fairseq-train"])
    quiet.show_error(InputError, InputError("--lr is -1: raise it"), None)
    assert capsys.readouterr().err == "fairseq-train: error: --lr is -1: raise it\n"


def test_other_errors_keep_their_traceback(capsys):
    try:
        raise ValueError("a mistake of the program")
    except ValueError as error:
        quiet.show_error(type(error), error, error.__traceback__)
    printed = capsys.readouterr().err
    assert printed.startswith("Traceback") and printed.endswith("ValueError: a mistake of the program\n")


def test_warnings_of_hydra_are_left_out_and_others_are_not():
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("ignore", module=quiet.HYDRA)
        for module in ("hydra.compose", "hydra", "hydrate", "torch"):
            warnings.warn_explicit("old", UserWarning, "x.py", 1, module=module)
    assert [str(each.message) for each in caught] == ["old", "old"]


def test_the_filter_is_there():
    assert quiet.show_command in logging.getLogger("fairseq_cli.train").filters
