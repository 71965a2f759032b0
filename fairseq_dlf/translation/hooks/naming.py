"""Error messages in the words of the command line: the only place where a setting becomes an option."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from fairseq_dlf.core.support.errors import UserError


@contextmanager
def naming_options(options: Mapping[str, str]) -> Iterator[None]:
    """Add the option for the wrong setting to every `UserError` that passes through.

    Forced by: fairseq shows the errors of a plug-in unchanged.

    Args:
        options: names of options by setting.
    """
    try:
        yield
    except UserError as error:
        raise type(error)(error.with_option(options)) from error
