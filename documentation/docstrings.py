"""Our docstrings' one-line notes (Cost, Paper, Source), for griffe: it would take those of several lines for boxes."""

import re
from typing import Any

import griffe

_NOTE = re.compile(r"^(Cost|Paper|Source): ((?:.+)(?:\n[ \t]+\S.*)*(?:\n(?!\n|[A-Z]\w+: ?)\S.*)*)", re.M)


class Notes(griffe.Extension):
    """Sets each note as a paragraph that begins with its name in bold."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = _NOTE.sub(_paragraph, obj.docstring.value)


def _paragraph(found: "re.Match[str]") -> str:
    return f"\n**{found[1]}**: {' '.join(found[2].split())}\n"
