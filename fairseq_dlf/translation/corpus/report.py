"""What a preparation has made, in numbers."""

from pathlib import Path
from typing import NamedTuple

from fairseq_dlf.core.files.text import read_lines
from fairseq_dlf.translation.corpus import iwslt14
from fairseq_dlf.translation.corpus.settings import SPLITS


class Report(NamedTuple):
    """Counts of every split as a table, and the lines by split."""

    table: str
    lines: dict[str, int]


def report_of(out: Path, languages: tuple[str, str]) -> Report:
    """Count lines, words and subwords of every split of a finished preparation."""
    header = ["split", "lines"] + [f"{language} {unit}" for language in languages for unit in ("words", "subwords")]
    rows, lines = [header], {}
    for split in SPLITS:
        counts = []
        for language in languages:
            for name in (f"tokenized/{split}.{language}", f"bpe.{split}.{language}"):
                text = read_lines(out / name)
                lines[split] = len(text)
                counts.append(sum(len(line.split(" ")) for line in text if line))
        rows.append([split] + [f"{count:,}" for count in (lines[split], *counts)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    table = "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return Report(table, lines)


def differences_from_recipe(lines: dict[str, int]) -> list[str]:
    """Return a note for every split of IWSLT14 whose size is not that of the recipe with the original Perl."""
    return [
        f"note: {split} has {lines[split]:,} lines, fairseq's recipe with the original Perl {wanted:,}: a few "
        "can come from the tokeniser, many mean another archive or other options"
        for split, wanted in iwslt14.LINES.items()
        if lines[split] != wanted
    ]
