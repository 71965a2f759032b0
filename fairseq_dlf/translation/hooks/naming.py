"""Mistakes of the user in the words of the command line: the one place where a setting becomes an option."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from fairseq_dlf.core.support.errors import UserError


@contextmanager
def naming_options(options: Mapping[str, str]) -> Iterator[None]:
    """Name the option to turn in the errors that pass through.

    Forced by: fairseq shows whatever a plug-in raises as it is.

    Args:
        options: names of options by setting.
    """
    try:
        yield
    except UserError as error:
        raise type(error)(error.with_option(options)) from error
