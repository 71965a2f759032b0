"""The pages that users read, and the commands in them."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in [README, *sorted(DOCS.glob("*.md"))]}
# Its commands use a package that the page itself writes; tests/test_extending.py runs them.
OWN_TEST = "docs/extending.md"


def bash_commands():
    """The commands of all fenced bash blocks, each with its page and as a list of words without redirections."""
    found = []
    for page, text in PAGES.items():
        if page != OWN_TEST:
            for block in re.findall(r"^```bash\n(.*?)^```", text, re.M | re.S):
                for line in block.replace("\\\n", " ").splitlines():
                    words = shlex.split(line, comments=True)
                    if ">" in words:
                        words = words[: words.index(">")]
                    if words:
                        found.append((page, words))
    return found


COMMANDS = bash_commands()


def without_fences(text):
    """A page's prose, without its blocks of code and output."""
    return re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)


def section(page, heading):
    """A page's text under a heading, up to the next heading."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", PAGES[page], re.M | re.S)
    assert found, f"{page} has no heading {heading!r}"
    return found[1]
