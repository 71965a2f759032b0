"""Corpora as read: parallel text in plain or gzip files."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fairseq_dlf.core.files.text import BYTE_ORDER_MARK, lines_of, read_content
from fairseq_dlf.core.files.unpacking import read_gzip
from fairseq_dlf.core.support.errors import InputError, MissingFileError
from fairseq_dlf.translation.corpus.messages import say
from fairseq_dlf.translation.corpus.settings import SPLITS

MULTI30K_NAMES = {"train": "train", "valid": "val", "test": "test_2016_flickr"}
PARALLEL_NAMES = {split: split for split in SPLITS}


class ParallelText(NamedTuple):
    """Aligned lines of the two languages, as read: same length, no line ends."""

    source: list[str]
    target: list[str]


class Corpus(NamedTuple):
    """What a front end reads: text by split; without "valid", every n-th clean train pair becomes it."""

    text: dict[str, ParallelText]
    valid_every: int | None = None


def decode_lines(content: bytes, name: str) -> list[str]:
    """Return the lines of a text, and say where a byte-order mark was left out.

    Raises:
        InputError: the text is not UTF-8.
    """
    if content.startswith(BYTE_ORDER_MARK):
        say(f"note: {name} begins with a byte-order mark, which is left out")
    return lines_of(content, name)


def aligned(lines: Sequence[list[str]], names: Sequence[str]) -> ParallelText:
    """Pair two files' lines.

    Raises:
        InputError: their counts differ.
    """
    counts = [len(one) for one in lines]
    if counts[0] != counts[1]:
        raise InputError(
            f"{names[0]} has {counts[0]:,} lines, {names[1]} has {counts[1]:,}: both must have the same "
            "number, line by line each other's translation; fetch or align the files again"
        )
    return ParallelText(*lines)


def require_references(lines: Sequence[str], name: str, unit: str = "line") -> None:
    """Raise an error where a sentence of the test set has nothing to be scored against.

    Raises:
        InputError: with the first place.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            raise InputError(
                f"empty reference in {name} ({unit} {number:,}): remove the pair from the test set or fill it in"
            )


def find_raw(raw: Path, stem: str, language: str) -> Path:
    """Return the plain file if it is there, else the gzip one.

    Raises:
        MissingFileError: neither is there.
    """
    plain = raw / f"{stem}.{language}"
    for path in (plain, Path(f"{plain}.gz")):
        if path.is_file():
            return path
    raise MissingFileError(
        f"{raw} has no {plain.name} or {plain.name}.gz: name the folder that holds every split", setting="raw"
    )


def read_text(path: Path) -> list[str]:
    """Return the lines of a plain or gzip text file.

    Raises:
        InputError: it cannot be read, is damaged, unpacks to too much, or is not UTF-8.
    """
    content = read_gzip(path) if path.suffix == ".gz" else read_content(path, "raw text")
    return decode_lines(content, str(path))


def read_raw(files: dict[tuple[str, str], Path], languages: tuple[str, str]) -> Corpus:
    """Read text that is split already.

    Args:
        files: paths by split and language.

    Raises:
        InputError: a file is damaged, two do not match, or a reference of the test set is empty.
    """
    text = {}
    for split in SPLITS:
        paths = [files[split, language] for language in languages]
        text[split] = aligned([read_text(path) for path in paths], [str(path) for path in paths])
    require_references(text["test"].target, str(files["test", languages[1]]))
    return Corpus(text)
