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


def bash_lines(page):
    """The commands of a page's fenced bash blocks, each on one line, as they stand there."""
    blocks = re.findall(r"^```bash\n(.*?)^```", PAGES[page], re.M | re.S)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if shlex.split(line, comments=True)]


def bash_commands():
    """The commands of all pages, each with its page and as a list of words without redirections."""
    found = []
    for page in PAGES:
        if page != OWN_TEST:
            for line in bash_lines(page):
                words = shlex.split(line, comments=True)
                found.append((page, words[: words.index(">")] if ">" in words else words))
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
