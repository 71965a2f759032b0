"""Our docstrings' notes (Cost, Paper, Source), for griffe: it would take those of several lines for boxes."""

import re
from typing import Any

import griffe

# Up to a blank line, or to a line that begins another note or section.
_NOTE = re.compile(r"^(Cost|Paper|Source): (.+(?:\n(?![A-Z]\w*:)[ \t]*\S.*)*)", re.M)


class Notes(griffe.Extension):
    """Sets each note as a paragraph that begins with its name in bold."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = with_paragraphs(obj.docstring.value)


def with_paragraphs(docstring: str) -> str:
    """Return a docstring with its notes as paragraphs."""
    return _NOTE.sub(lambda found: f"\n**{found[1]}**: {' '.join(found[2].split())}\n", docstring)
