"""A report as sections of text, tables and pictures, written as Markdown and as one HTML page."""

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Union


@dataclass(frozen=True)
class Text:
    """A paragraph; a warning stands out."""

    text: str
    warning: bool = False


@dataclass(frozen=True)
class Table:
    """A table; every row has as many cells as the head."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


@dataclass(frozen=True)
class Picture:
    """A picture.

    Attributes:
        name: of the file, without its ending.
    """

    name: str
    caption: str

    @property
    def file(self) -> str:
        """Return the name of the file."""
        return f"{self.name}.png"


Block = Union[Text, Table, Picture]


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """A report."""

    title: str
    sections: Sequence[Section]

    @property
    def warnings(self) -> list[str]:
        """Return the texts of all warnings."""
        blocks = [block for section in self.sections for block in section.blocks]
        return [block.text for block in blocks if isinstance(block, Text) and block.warning]


# Markdown -------------------------------------------------------------------------

_MARKS = re.compile(r"([\\`*_\[\]<>|~&$#])")


def to_markdown(page: Page) -> str:
    """Return the report as Markdown, which shows the pictures of its folder."""
    parts = [f"# {_escaped(page.title)}"]
    for section in page.sections:
        parts += [f"## {_escaped(section.title)}", *map(_block_as_markdown, section.blocks)]
    return "\n\n".join(parts) + "\n"


def _escaped(text: str) -> str:
    return _MARKS.sub(r"\\\1", text)


def _block_as_markdown(block: Block) -> str:
    if isinstance(block, Text):
        return f"> **Warning.** {_escaped(block.text)}" if block.warning else _escaped(block.text)
    if isinstance(block, Picture):
        return f"![{_escaped(block.caption)}]({block.file})\n\n{_escaped(block.caption)}"
    rows = [block.head, ["---"] * len(block.head), *block.rows]
    lines = [f"| {' | '.join(row if number == 1 else map(_escaped, row))} |" for number, row in enumerate(rows)]
    return "\n".join([*([_escaped(block.caption), ""] if block.caption else []), *lines])


# HTML -----------------------------------------------------------------------------

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; border-bottom: 1px solid #ccc; }
table { border-collapse: collapse; margin: 1rem 0; font-size: 0.9rem; } caption { text-align: left; color: #555; }
th, td { padding: 0.2rem 0.7rem; border-bottom: 1px solid #ddd; text-align: left; overflow-wrap: anywhere; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
figure { margin: 1.5rem 0; } img { max-width: 100%; } figcaption { color: #555; font-size: 0.9rem; }
p { overflow-wrap: anywhere; } .warning { background: #fff3cd; border-left: 4px solid #e69f00; padding: 0.5rem 1rem; }
"""
_NUMBER = re.compile(r"[-−+]?[\d.,]+(e[-+]?\d+)?( ?%)?|–")


def to_html(page: Page, folder: Path) -> str:
    """Return the report as one HTML page that needs no other file.

    Args:
        folder: holds the pictures, which go into the page.
    """
    body = [f"<h1>{html.escape(page.title)}</h1>"]
    for section in page.sections:
        body.append(f"<h2>{html.escape(section.title)}</h2>")
        body += [_block_as_html(block, folder) for block in section.blocks]
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{html.escape(page.title)}'
        f"</title><style>{_STYLE}</style>"
    )
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(body) + "\n</body></html>\n"


def _block_as_html(block: Block, folder: Path) -> str:
    if isinstance(block, Text):
        if block.warning:
            return f'<p class="warning"><strong>Warning.</strong> {html.escape(block.text)}</p>'
        return f"<p>{html.escape(block.text)}</p>"
    if isinstance(block, Picture):
        content = base64.b64encode((folder / block.file).read_bytes()).decode("ascii")
        caption = html.escape(block.caption)
        image = f'<img alt="{caption}" src="data:image/png;base64,{content}">'
        return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"
    caption = f"<caption>{html.escape(block.caption)}</caption>" if block.caption else ""
    numeric = [all(_NUMBER.fullmatch(row[place]) for row in block.rows) for place in range(len(block.head))]
    rows = [_row("th", block.head, numeric), *(_row("td", row, numeric) for row in block.rows)]
    return f"<table>{caption}\n" + "\n".join(rows) + "\n</table>"


def _row(tag: str, cells: Sequence[str], numeric: Sequence[bool]) -> str:
    kinds = [' class="number"' if number else "" for number in numeric]
    found = [f"<{tag}{kind}>{html.escape(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True)]
    return f"<tr>{''.join(found)}</tr>"
