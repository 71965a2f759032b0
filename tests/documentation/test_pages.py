"""The pages themselves: all in the navigation, links that resolve, figures with a source."""

import re
from pathlib import Path

import pytest

from tests.documentation.pages import DOCS, PAGES, README, ROOT, without_fences

# Markdown files that are no pages, but whose links must resolve as well.
OTHERS = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("RESULTS.md", "CONTRIBUTING.md", "CHANGELOG.md")}
LINK = re.compile(r"\]\(([^)\s]+)\)")
CONFIGURATION = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
# A figure of one run that no table has: two seeds on digits, beside an adapting student.
UNRECORDED = {"3.2 ± 1.0"}


def slug(heading):
    """The anchor of a heading, by MkDocs with pymdownx.slugs and on GitHub alike."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", text.strip().lower()))


def anchors(path):
    text = path.read_text(encoding="utf-8")
    if path == DOCS / "results.md":
        text = (ROOT / "RESULTS.md").read_text(encoding="utf-8")
    return {slug(heading) for heading in re.findall(r"^#{1,6} (.+)$", without_fences(text), re.M)}


def links():
    """Every relative link with the file that it stands in."""
    texts = {**PAGES, **OTHERS}
    return sorted(
        (page, link) for page, text in texts.items() for link in LINK.findall(without_fences(text)) if "://" not in link
    )


def test_the_readme_is_short():
    assert len(README.read_text(encoding="utf-8").split()) <= 1500


def test_every_page_is_in_the_navigation_once():
    listed = re.findall(r"^ +- [\w -]+: ([\w-]+\.md)$", CONFIGURATION, re.M)
    assert sorted(listed) == sorted(path.name for path in DOCS.glob("*.md"))


@pytest.mark.parametrize(("page", "link"), links())
def test_a_link_leads_somewhere(page, link):
    target, _, anchor = link.partition("#")
    path = ((ROOT / page).parent / target).resolve() if target else ROOT / page
    assert path.exists(), f"{page} links {target}, which is not there"
    if page.startswith("docs/"):
        assert path.is_relative_to(DOCS), f"{page} links {target}, which the site does not have"
    if anchor:
        assert anchor in anchors(path), f"{page} links {link}, but there is no such heading"


def test_slugs_are_those_of_the_site():
    assert slug("Forms of Φ") == "forms-of-φ"
    assert slug("MNIST, MLP and LeNet (the paper's Table 1)") == "mnist-mlp-and-lenet-the-papers-table-1"
    assert slug("Criterion `dlf`") == "criterion-dlf"


@pytest.mark.parametrize("page", sorted(set(PAGES) - {"docs/index.md"}))
def test_a_page_has_one_title_and_code_fences_that_end(page):
    assert PAGES[page].count("```") % 2 == 0
    if page != "docs/results.md":
        assert len(re.findall(r"^# ", without_fences(PAGES[page]), re.M)) == 1


@pytest.mark.parametrize("page", PAGES)
def test_a_mean_with_its_deviation_stands_in_the_results(page):
    sources = OTHERS["RESULTS.md"] + "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("examples/*.py"))
    recorded = plain(sources)
    for figure in re.findall(r"[\d.]+ ± [\d.]+", plain(without_fences(PAGES[page]))):
        assert figure in recorded or figure in UNRECORDED, f"{page}: {figure} has no source"


def plain(text):
    return re.sub(r" ?%|\*\*", "", text)


def paths():
    """What looks like a path of ours in running text: `core/teaching/loss.py`, `recipes/toy.sh`."""
    tops = {path.name for folder in (ROOT, ROOT / "fairseq_dlf") for path in folder.iterdir() if path.is_dir()}
    tops -= {"runs", "checkpoints", "build", "outputs"}  # what commands write
    found = set()
    for page, text in PAGES.items():
        for name in re.findall(r"`([\w.-]+(?:/[\w.-]+)*/?)`", text):
            if "/" in name and name.split("/")[0] in tops and name != "results/choice":
                found.add((page, name))
    return sorted(found)


@pytest.mark.parametrize(("page", "name"), paths())
def test_a_path_in_running_text_exists(page, name):
    # The table of architecture.md names modules without their endings.
    places = [folder / each for folder in (ROOT, ROOT / "fairseq_dlf") for each in (name, f"{name}.py")]
    assert any(place.exists() for place in places), f"{page} names {name}"


def test_files_of_the_repository_in_running_text_exist():
    named = set(re.findall(r"`([\w-]+\.(?:sh|toml|txt|cff|yml|md))`", "\n".join(PAGES.values())))
    here = {path.name for path in ROOT.rglob("*") if ".git" not in path.parts}
    assert named - here - {"report.md"} == set()


def test_what_builds_the_site_is_pinned():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    wanted = re.findall(r"[\"']([\w-]+)[\[>=]", re.search(r"^docs = \[(.*)\]$", project, re.M)[1])
    pinned = re.findall(r"^([\w-]+)==", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.M)
    assert len(wanted) == 3 and set(wanted) <= set(pinned)


def test_the_figure_of_the_pages_is_that_of_its_script():
    from documentation import figure

    assert Path(figure.PATH).read_text(encoding="utf-8") == figure.figure()
