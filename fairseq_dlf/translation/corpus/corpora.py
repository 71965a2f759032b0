"""Reading corpora: IWSLT14 archives, Multi30k and plain parallel text."""

import gzip
import io
import posixpath
import re
import tarfile
import zlib
from pathlib import Path
from typing import NamedTuple

SPLITS = ("train", "valid", "test")
MULTI30K_NAMES = {"train": "train", "valid": "val", "test": "test_2016_flickr"}
PARALLEL_NAMES = {split: split for split in SPLITS}
IWSLT14_TEST_SETS = ("TED.dev2010", "TEDX.dev2012", "TED.tst2010", "TED.tst2011", "TED.tst2012")
IWSLT14_VALID_EVERY = 23
IWSLT14_LINES = {"train": 160_239, "valid": 7_283, "test": 6_750}  # of the recipe with the original Perl
IWSLT14_DROPPED = re.compile(r"<(url|talkid|keywords|speaker|reviewer|translator)\b")
IWSLT14_STRIPPED = re.compile(r"</?(title|description)>")
IWSLT14_SEGMENT = re.compile(r'<seg id="[0-9]*">\s*|\s*</seg>\s*')


class PrepareError(ValueError):
    """A mistake in the input or the options; its text is the one line that the user sees."""


class ParallelText(NamedTuple):
    """Aligned lines of the two languages, as read: same length, no line ends."""

    source: list[str]
    target: list[str]


class Corpus(NamedTuple):
    """What a front end reads: text by split; without "valid", every n-th clean train pair becomes it."""

    text: dict[str, ParallelText]
    valid_every: int | None = None


def decode_lines(content: bytes, name: str) -> list[str]:
    """Split UTF-8 text at line feeds only, so that no odd Unicode separator shifts the alignment."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as err:
        raise PrepareError(f"{name} is not UTF-8 (byte {err.start:,}): convert it to UTF-8") from None
    return [line.rstrip("\n") for line in io.StringIO(text, newline="\n")]


def aligned(lines: list[list[str]], names: list[str]) -> ParallelText:
    """Pair two files' lines. Raises: PrepareError if their counts differ."""
    counts = [len(one) for one in lines]
    if counts[0] != counts[1]:
        raise PrepareError(
            f"{names[0]} has {counts[0]:,} lines, {names[1]} has {counts[1]:,}: both must have the same "
            "number, line by line each other's translation; fetch or align the files again"
        )
    return ParallelText(*lines)


def find_raw(raw: Path, stem: str, language: str) -> Path:
    """The plain file if it is there, else the gzip one."""
    plain = raw / f"{stem}.{language}"
    for path in (plain, Path(f"{plain}.gz")):
        if path.is_file():
            return path
    raise PrepareError(f"{raw} has no {plain.name} or {plain.name}.gz: pass the --raw folder that holds every split")


def read_text(path: Path) -> list[str]:
    """Lines of a plain or gzip text file."""
    try:
        content = path.read_bytes()
        return decode_lines(gzip.decompress(content) if path.suffix == ".gz" else content, path.name)
    except (gzip.BadGzipFile, EOFError, zlib.error) as err:
        raise PrepareError(f"{path} is corrupt ({err}): fetch it again") from None


def read_raw(files: dict[tuple[str, str], Path], languages: tuple[str, str]) -> Corpus:
    """Read pre-split text; ``files`` is keyed by (split, language)."""
    text = {}
    for split in SPLITS:
        paths = [files[split, language] for language in languages]
        text[split] = aligned([read_text(path) for path in paths], [path.name for path in paths])
    return Corpus(text)


def iwslt14_members(pair: str, languages: tuple[str, str]) -> dict[tuple[str, str], str]:
    """Names inside the archive by (set, language), in the order of the recipe."""
    members = {("train", language): f"{pair}/train.tags.{pair}.{language}" for language in languages}
    for name in IWSLT14_TEST_SETS:
        members |= {(name, language): f"{pair}/IWSLT14.{name}.{pair}.{language}.xml" for language in languages}
    return members


def read_members(archive: Path, wanted: set[str]) -> dict[str, bytes]:
    """Read the wanted members into memory; nothing is extracted to disk.

    Raises: PrepareError for what is not a whole gzip tar, or names a path outside itself.
    """
    contents = {}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                name = posixpath.normpath(member.name)
                if name.startswith(("/", "..")):
                    raise PrepareError(
                        f"{archive} has a member outside its folder ({member.name}): this is not the IWSLT14 "
                        "archive; fetch it again from a source that you trust"
                    )
                if name in wanted and member.isfile():
                    contents[name] = tar.extractfile(member).read()
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as err:
        raise PrepareError(f"{archive} is not a whole gzip tar archive ({err}): delete it and fetch it again") from None
    return contents


def read_iwslt14(archive: Path, languages: tuple[str, str]) -> Corpus:
    """Read train and the five test sets as fairseq's recipe does; valid is carved from train later."""
    orders = [iwslt14_members("-".join(order), languages) for order in (languages, languages[::-1])]
    contents = read_members(archive, {name for order in orders for name in order.values()})
    members = max(orders, key=lambda order: sum(name in contents for name in order.values()))
    missing = [name for name in members.values() if name not in contents]
    if missing:
        raise PrepareError(
            f"{archive} lacks {', '.join(missing)}: pass the de-en.tgz of IWSLT14 with its layout unchanged"
        )
    lines = {key: decode_lines(contents[name], name) for key, name in members.items()}
    train = aligned(
        [train_lines(lines["train", language]) for language in languages],
        [members["train", language] for language in languages],
    )
    test = ParallelText([], [])
    for name in IWSLT14_TEST_SETS:
        one = aligned(
            [segment_lines(lines[name, language]) for language in languages],
            [members[name, language] for language in languages],
        )
        test = ParallelText(test.source + one.source, test.target + one.target)
    return Corpus({"train": train, "test": test}, IWSLT14_VALID_EVERY)


def train_lines(lines: list[str]) -> list[str]:
    """Train text of the IWSLT14 mark-up: drop the lines about a talk, keep titles and descriptions."""
    return [IWSLT14_STRIPPED.sub("", line).strip() for line in lines if not IWSLT14_DROPPED.search(line)]


def segment_lines(lines: list[str]) -> list[str]:
    """Test text of the IWSLT14 XML, one line a segment."""
    return [IWSLT14_SEGMENT.sub("", line).replace("’", "'").strip() for line in lines if "<seg id" in line]
