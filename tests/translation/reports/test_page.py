"""A report as Markdown and as HTML."""

import base64
from html.parser import HTMLParser

import pytest

from fairseq_dlf.translation.reports.page import Page, Picture, Section, Table, Text, to_html, to_markdown

HOSTILE = "<b>|$x$_*`&"
PAGE = Page(
    "Report",
    [
        Section("One & two", [Text("Plain s_t."), Text("Beware.", warning=True)]),
        Section(
            "Three",
            [Table(("word", "count"), [(HOSTILE, "1,000"), ("b", "–")], "A table."), Picture("plot", "A plot.")],
        ),
    ],
)
VOID = {"meta", "img"}


class Reader(HTMLParser):
    """What an HTML page shows; fails where a tag is not closed in order."""

    def __init__(self):
        super().__init__()
        self.open, self.cells, self.images, self.texts = [], [], [], []

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.images.append(dict(attributes))
        if tag not in VOID:
            self.open.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if self.open and self.open[-1][0] in ("td", "th"):
            self.cells.append((data, self.open[-1][1].get("class")))
        elif data.strip() and self.open and self.open[-1][0] != "style":
            self.texts.append(data)


@pytest.fixture
def shown(tmp_path):
    (tmp_path / "plot.png").write_bytes(b"\x89PNG made up")
    reader = Reader()
    reader.feed(to_html(PAGE, tmp_path))
    assert reader.open == []
    return reader


def test_the_page_holds_its_pictures(shown):
    (image,) = shown.images
    kind, _, content = image["src"].partition(",")
    assert kind == "data:image/png;base64" and base64.b64decode(content) == b"\x89PNG made up"
    assert image["alt"] == "A plot."


def test_words_are_shown_as_they_are_and_numbers_stand_to_the_right(shown):
    assert shown.cells == [
        ("word", None),
        ("count", "number"),
        (HOSTILE, None),
        ("1,000", "number"),
        ("b", None),
        ("–", "number"),
    ]


def test_headings_and_warnings_are_shown(shown):
    assert {"Report", "One & two", "Warning.", " Beware.", "Plain s_t.", "A table."} <= set(shown.texts)


def test_markdown_escapes_what_would_be_marks():
    text = to_markdown(PAGE)
    assert "| \\<b\\>\\|\\$x\\$\\_\\*\\`\\& | 1,000 |\n| b | – |" in text
    assert "# Report\n\n## One \\& two\n\nPlain s\\_t.\n\n> **Warning.** Beware.\n" in text
    assert "A table.\n\n| word | count |\n| --- | --- |\n" in text and "![A plot.](plot.png)" in text


def test_warnings_are_found():
    assert PAGE.warnings == ["Beware."]
