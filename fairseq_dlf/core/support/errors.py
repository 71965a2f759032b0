"""Errors that the user can mend, as opposed to faults of the program.

A command shows a `UserError` as one line; every other exception keeps its traceback.
"""

from collections.abc import Mapping


class UserError(Exception):
    """An input that cannot be used; the text says what was found, what was expected and what to do.

    Args:
        text: one line that names no option of a command line.
        setting: name of the wrong setting in the code, to which a command adds the name of its
            option (`with_option`); None if no setting is wrong.
    """

    def __init__(self, text: str, setting: str | None = None):
        super().__init__(text)
        self.text = text
        self.setting = setting

    def __str__(self) -> str:
        return self.text

    def with_option(self, options: Mapping[str, str]) -> str:
        """Return the text, with the option for the wrong setting, such as '--batch-size'.

        Args:
            options: names of options by setting; a setting without one adds nothing.
        """
        option = options.get(self.setting or "")
        return f"{self.text} ({option})" if option and option not in self.text else self.text


class InputError(UserError, ValueError):
    """A wrong value, file or combination of settings."""


class MissingFileError(UserError, FileNotFoundError):
    """A file or folder that does not exist."""


class StateError(UserError, RuntimeError):
    """A run that cannot continue: it diverged, a package is not installed, or a download failed."""


class DiskError(UserError, OSError):
    """A file that could not be written: the disk is full, or the folder does not allow it."""


def brief(error: BaseException) -> str:
    """Return the first line of an error's text, or its class if it has no text."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
