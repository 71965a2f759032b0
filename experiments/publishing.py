"""A report within a document that says more: the part between two marks is replaced."""

from pathlib import Path

from fairseq_dlf.core.files.fields import read_text
from fairseq_dlf.core.files.replacement import replacing
from fairseq_dlf.core.support.errors import InputError

END = "<!-- end of the report -->"


def publish(report: str, table: str, path: Path) -> bool:
    """Put a report in place of the one between the marks of its table; return whether that changed the document.

    Args:
        report: in Markdown.
        table: its name.
        path: the document, with the marks '<!-- report of TABLE -->' and '<!-- end of the report -->'.

    Raises:
        InputError: there is no such document, or it has not one place for the report.
    """
    before = read_text(path, "name a document with the marks of the report")
    after = with_report(before, report, table, path)
    if after == before:
        return False
    with replacing(path) as partial:
        partial.write_text(after, encoding="utf-8")
    return True


def with_report(text: str, report: str, table: str, path: Path) -> str:
    """Return a document's text with the report between the marks of its table.

    Raises:
        InputError: the text has not one place for it.
    """
    begin = f"<!-- report of {table} -->"
    parts = text.split(begin)
    if len(parts) != 2 or END not in parts[1]:
        raise InputError(
            f"{path} has {len(parts) - 1} of the marks {begin} before {END}: wanted one, at the place of the report"
        )
    return f"{parts[0]}{begin}\n\n{report}\n\n{END}{parts[1].split(END, 1)[1]}"
