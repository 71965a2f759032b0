"""The archive of IWSLT14, read as fairseq's recipe reads it."""

import posixpath
import re
import tarfile
from collections.abc import Collection
from pathlib import Path

from fairseq_dlf.core.files.unpacking import unpacking
from fairseq_dlf.core.support.errors import InputError, brief
from fairseq_dlf.translation.corpus.corpora import Corpus, ParallelText, aligned, decode_lines, require_references

TEST_SETS = ("TED.dev2010", "TEDX.dev2012", "TED.tst2010", "TED.tst2011", "TED.tst2012")
VALID_EVERY = 23
LINES = {"train": 160_239, "valid": 7_283, "test": 6_750}  # of the recipe with the original Perl
_DROPPED = re.compile(r"<(url|talkid|keywords|speaker|reviewer|translator)\b")
_STRIPPED = re.compile(r"</?(title|description)>")
_SEGMENT = re.compile(r'<seg id="[0-9]*">\s*|\s*</seg>\s*')


def read_iwslt14(archive: Path, languages: tuple[str, str]) -> Corpus:
    """Read train and the five test sets; valid is carved from train later.

    Raises:
        InputError: the archive is damaged, foreign or incomplete, or its files do not match.
    """
    orders = [member_names("-".join(order), languages) for order in (languages, languages[::-1])]
    contents = read_members(archive, {name for order in orders for name in order.values()})
    members = max(orders, key=lambda order: sum(name in contents for name in order.values()))
    missing = [name for name in members.values() if name not in contents]
    if missing:
        raise InputError(
            f"{archive} lacks {', '.join(missing)}: name the de-en.tgz of IWSLT14 with its layout unchanged",
            setting="archive",
        )
    lines = {key: decode_lines(contents[name], name) for key, name in members.items()}
    train = aligned(
        [train_lines(lines["train", language]) for language in languages],
        [members["train", language] for language in languages],
    )
    test = ParallelText([], [])
    for name in TEST_SETS:
        names = [members[name, language] for language in languages]
        one = aligned([segment_lines(lines[name, language]) for language in languages], names)
        require_references(one.target, names[1], "segment")
        test = ParallelText(test.source + one.source, test.target + one.target)
    return Corpus({"train": train, "test": test}, VALID_EVERY)


def member_names(pair: str, languages: tuple[str, str]) -> dict[tuple[str, str], str]:
    """Return names inside the archive by set and language, in the order of the recipe."""
    members = {("train", language): f"{pair}/train.tags.{pair}.{language}" for language in languages}
    for name in TEST_SETS:
        members |= {(name, language): f"{pair}/IWSLT14.{name}.{pair}.{language}.xml" for language in languages}
    return members


def read_members(archive: Path, wanted: Collection[str]) -> dict[str, bytes]:
    """Read the wanted members into memory; nothing is extracted to disk.

    Raises:
        InputError: the file is not a whole gzip tar, unpacks to too much, or names a path outside itself.
    """
    contents = {}
    try:
        with unpacking(archive) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            for member in tar:
                name = posixpath.normpath(member.name)
                if name.startswith(("/", "..")):
                    raise InputError(
                        f"{archive} has a member outside its folder ({member.name}): this is not the IWSLT14 "
                        "archive; fetch it again from a source that you trust"
                    )
                # A sparse member claims any size without holding it.
                if name in wanted and member.isfile() and not member.issparse():
                    file = tar.extractfile(member)
                    contents[name] = file.read() if file is not None else b""
            while stream.read(2**20):
                pass  # gzip's checksum comes after all that tar looks at
    except tarfile.TarError as error:
        raise InputError(
            f"{archive} is not a whole tar archive ({brief(error)}): delete it and fetch it again"
        ) from error
    return contents


def train_lines(lines: list[str]) -> list[str]:
    """Return the train text of the mark-up: without the lines about a talk, with titles and descriptions."""
    return [_STRIPPED.sub("", line).strip() for line in lines if not _DROPPED.search(line)]


def segment_lines(lines: list[str]) -> list[str]:
    """Return the test text of the XML, one line a segment."""
    return [_SEGMENT.sub("", line).replace("’", "'").strip() for line in lines if "<seg id" in line]
