"""Hooks of MkDocs: puts the generated parts into the pages that ask for them."""

import logging
import re
from typing import Any

from documentation.reference import SECTIONS

# fairseq's import makes every logger talk.
logging.getLogger("MARKDOWN").setLevel(logging.WARNING)
_MARK = re.compile(r"^<!-- generated: (.+) -->$", re.M)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return a page with its generated parts.

    Raises:
        KeyError: it asks for a part that there is not.
    """
    return _MARK.sub(lambda found: SECTIONS[found[1]](), markdown)
