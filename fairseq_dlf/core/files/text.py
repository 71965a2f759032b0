"""Text as lines: UTF-8, split at line feeds only."""

import codecs
from pathlib import Path

from fairseq_dlf.core.support.errors import InputError, MissingFileError

BYTE_ORDER_MARK = codecs.BOM_UTF8


def lines_of(content: bytes, name: str) -> list[str]:
    """Return the lines of a text, without their ends (LF or CRLF) and without a byte-order mark at the start.

    Other line separators of Unicode, such as U+2028 or U+0085, are ordinary characters here: a sentence that
    contains one remains one sentence, so that the lines of two files still match.

    Args:
        content: the whole text in UTF-8.
        name: of the text, for the message.

    Raises:
        InputError: the text is not UTF-8.
    """
    try:
        text = content.removeprefix(BYTE_ORDER_MARK).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not UTF-8 (byte {error.start:,}): convert it to UTF-8") from error
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def read_lines(path: Path, what: str = "the text") -> list[str]:
    """Return the lines of a text file, as `lines_of` does.

    Args:
        path: the file.
        what: what it should hold, for the messages: 'references'.

    Raises:
        MissingFileError: there is no such file.
        InputError: it is not a file, cannot be read, or is not UTF-8.
    """
    return lines_of(read_content(path, what), str(path))


def read_content(path: Path, what: str) -> bytes:
    """Return the bytes of a file.

    Raises:
        MissingFileError: there is no such file.
        InputError: it is not a file, or cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise MissingFileError(f"{what} not found: there is no {path}") from error
    except OSError as error:
        raise InputError(f"{what} cannot be read from {path} ({error.strerror}): name a file of text") from error
