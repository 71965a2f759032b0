"""Errors of the user: kinds that Python knows, the option at fault, first lines."""

import pytest

from fairseq_dlf.core.support.errors import DiskError, InputError, MissingFileError, StateError, UserError, brief


@pytest.mark.parametrize(
    ("kind", "python"),
    [(InputError, ValueError), (MissingFileError, FileNotFoundError), (StateError, RuntimeError), (DiskError, OSError)],
)
def test_each_kind_is_one_of_pythons_and_keeps_its_text(kind, python):
    error = kind("2 is too much", setting="lr")
    assert isinstance(error, python) and isinstance(error, UserError)
    assert str(error) == "2 is too much" and error.setting == "lr"


def test_the_option_of_the_setting_at_fault_is_added():
    error = InputError("2 is too much", setting="batch_size")
    assert error.with_option({"batch_size": "--batch-size", "lr": "--lr"}) == "2 is too much (--batch-size)"
    assert error.with_option({"lr": "--lr"}) == "2 is too much"
    assert InputError("2 is too much").with_option({"lr": "--lr"}) == "2 is too much"


def test_an_option_that_is_named_already_is_not_named_twice():
    assert InputError("lower --lr", setting="lr").with_option({"lr": "--lr"}) == "lower --lr"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("one\ntwo"), "one"),
        (EOFError(), "EOFError"),
        (ValueError(""), "ValueError"),
        (ValueError("\ntwo"), "ValueError"),
        (KeyError("a"), "'a'"),
    ],
)
def test_the_first_line_of_an_error_or_its_kind(error, text):
    assert brief(error) == text
