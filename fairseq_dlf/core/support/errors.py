"""Mistakes of the user, told apart from faults of the program.

A command shows a `UserError` as one line; every other exception keeps its traceback.
"""

from collections.abc import Mapping


class UserError(Exception):
    """What the user gave cannot be used; the text says what was got, what was wanted and what to do.

    Args:
        text: one line, without the option of any command line.
        setting: name of the setting at fault, as the code has it. A command adds its own option's
            name (`with_option`); None where no setting is at fault.
    """

    def __init__(self, text: str, setting: str | None = None):
        super().__init__(text)
        self.text = text
        self.setting = setting

    def __str__(self) -> str:
        return self.text

    def with_option(self, options: Mapping[str, str]) -> str:
        """The text, with the option that sets the setting at fault, such as '--batch-size'.

        Args:
            options: names of options by setting; a setting without one adds nothing.
        """
        option = options.get(self.setting or "")
        return f"{self.text} ({option})" if option and option not in self.text else self.text


class InputError(UserError, ValueError):
    """A value, a file or a combination of settings is wrong."""


class MissingFileError(UserError, FileNotFoundError):
    """There is no such file or folder."""


class StateError(UserError, RuntimeError):
    """A run cannot go on: it diverged, something is not installed, or a download failed."""


class DiskError(UserError, OSError):
    """A file could not be written: the disk is full, or the folder cannot be written to."""


def brief(error: BaseException) -> str:
    """The first line of an error's text, or its kind where it has none."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
