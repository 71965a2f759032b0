"""Reading what is compared: the output of `fairseq-generate`, and the references."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fairseq_dlf.core.files.text import read_lines
from fairseq_dlf.core.support.errors import InputError

LINE = re.compile(r"^([HDT])-([0-9]{1,18})\t(.*)$", re.DOTALL)
MISSING_SHOWN = 5


@dataclass(frozen=True)
class Generated:
    """One output of `fairseq-generate`: tokenised sentences without BPE, by id."""

    hypotheses: list[str]
    targets: list[str]


def read_references(path: Path) -> list[str]:
    """Read one raw reference a line.

    Raises:
        MissingFileError: the file is not there.
        InputError: the file is not UTF-8, holds nothing, or a line of it is empty.
    """
    lines = read_lines(path, "references")
    empty = [number for number, line in enumerate(lines, start=1) if not line.strip()]
    if not lines or empty:
        where = f"line {empty[0]}" if empty else "the whole file"
        raise InputError(f"empty reference in {path} ({where}): remove the pair from the test set or fill it in")
    return lines


def read_generated(path: Path, sentences: int, bpe: str, references: str = "the references") -> Generated:
    """Read hypotheses and targets, which fairseq-generate prints in no order, by id.

    Args:
        path: output of `fairseq-generate`; of an n-best list the first entry counts.
        sentences: how many there must be.
        bpe: mark of a subword that goes on, such as '@@ '; removed where it is left.
        references: what the messages call the file that says how many there must be.

    Raises:
        MissingFileError: the file is not there.
        InputError: the file is not UTF-8, has no H or T lines, or lacks sentences.
    """
    found: dict[str, dict[int, str]] = {"H": {}, "D": {}, "T": {}}
    for line in read_lines(path, "output of fairseq-generate"):
        match = LINE.match(line)
        if match:
            kind, number, rest = match.groups()
            text = rest if kind == "T" else rest.partition("\t")[2]  # H and D carry a score
            found[kind].setdefault(int(number), remove_bpe(text, bpe))
    if not found["H"]:
        raise InputError(f"no H lines in {path}: pass what fairseq-generate printed, made without --quiet")
    if not found["T"]:
        raise InputError(f"no T lines in {path}: generate from a data-bin that holds the targets")
    _require_complete(path, found["H"], sentences, references)
    hypotheses = {**found["H"], **found["D"]}
    return Generated(*(_in_order(path, lines, sentences) for lines in (hypotheses, found["T"])))


def remove_bpe(text: str, mark: str) -> str:
    """Join subwords: fairseq's own rule, which also catches a mark at the end."""
    return (text + " ").replace(mark, "").strip() if mark else text.strip()


def _require_complete(path: Path, hypotheses: Mapping[int, str], sentences: int, references: str) -> None:
    missing = sorted(set(range(sentences)) - set(hypotheses))
    if missing:
        raise InputError(
            f"{path} holds {len(hypotheses):,} of {sentences:,} sentences of {references} (missing ids: "
            f"{_shown(missing)}): where these are the references of the subset that was generated, "
            "fairseq-generate was stopped, left out a last batch of fewer than 8, or skipped what is too long; "
            "generate again with --required-batch-size-multiple 1 and a larger --max-source-positions, without "
            "--skip-invalid-size-inputs-valid-test"
        )
    if len(hypotheses) > sentences:
        raise InputError(
            f"{path} holds {len(hypotheses):,} sentences, {references} {sentences:,}: "
            "pass the references of the subset that was generated",
            setting="references",
        )


def _in_order(path: Path, lines: Mapping[int, str], sentences: int) -> list[str]:
    """Return lines in the order of their ids.

    Raises:
        InputError: one is missing, as of a file that was cut short.
    """
    missing = [number for number in range(sentences) if number not in lines]
    if missing:
        raise InputError(f"{path} lacks the T lines of some sentences (ids: {_shown(missing)}): generate it again")
    return [lines[number] for number in range(sentences)]


def _shown(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:MISSING_SHOWN])) + (", …" if len(numbers) > MISSING_SHOWN else "")
