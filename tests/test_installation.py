"""What `pip install .` brings on which machine: core and images everywhere, translation where fairseq can be had."""

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import fairseq_dlf

ROOT = Path(__file__).parent.parent
CORE = {"torch", "numpy", "safetensors", "tqdm"}
TRANSLATION = {"sacrebleu", "sacremoses", "subword-nmt", "sentencepiece", "setuptools"}
MACHINES = {
    "linux 3.11": ("linux", "x86_64", "3.11", {"ve-fairseq"} | TRANSLATION),
    "linux 3.12": ("linux", "x86_64", "3.12", {"ve-fairseq"} | TRANSLATION),
    "linux 3.10": ("linux", "x86_64", "3.10", {"fairseq-fixed"} | TRANSLATION),
    "linux 3.13": ("linux", "x86_64", "3.13", set()),
    "ARM": ("linux", "aarch64", "3.11", set()),
    "macOS": ("darwin", "arm64", "3.12", set()),
}


def names(requirements, system, machine, version):
    """The packages that the machine gets."""
    environment = {"sys_platform": system, "platform_machine": machine, "python_version": version}
    wanted = [Requirement(line) for line in requirements]
    return {one.name for one in wanted if one.marker is None or one.marker.evaluate(environment)}


def pins():
    """The version of each package that the tests are run with."""
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w-]+)==(\S+)$", text, re.MULTILINE))


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib is new in Python 3.11")
@pytest.mark.parametrize(("system", "machine", "version", "translation"), MACHINES.values(), ids=MACHINES)
def test_each_machine_gets_what_it_can_install(system, machine, version, translation):
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert names(project["dependencies"], system, machine, version) == CORE | translation
    by_hand = names(project["optional-dependencies"]["translation"], system, machine, version)
    assert by_hand == TRANSLATION | (set() if translation else {"fairseq-fixed"})


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib is new in Python 3.11")
def test_what_core_and_images_need_is_said_twice_alike():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (ROOT / "requirements-core.txt").read_text(encoding="utf-8")
    wanted = [*project["dependencies"][: len(CORE)], *project["optional-dependencies"]["images"]]
    assert {Requirement(line).name for line in wanted} >= CORE
    assert [line for line in text.splitlines() if not line.startswith("#")] == wanted


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib is new in Python 3.11")
def test_the_tests_run_with_versions_that_an_installation_allows():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *sum(project["optional-dependencies"].values(), [])]
    pinned = pins()
    checked = [one for one in map(Requirement, wanted) if one.name in pinned]
    assert CORE - {"tqdm"} <= {one.name for one in checked}
    assert [str(one) for one in checked if not one.specifier.contains(pinned[one.name])] == []


def test_the_python_of_the_image_has_wheels_of_fairseq():
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    (version,) = re.findall(r"^FROM python:(3\.\d+)-slim$", text, re.MULTILINE)
    assert "ve-fairseq" in MACHINES[f"linux {version}"][-1]


def test_hosted_tests_are_those_of_every_other_machine():
    text = (ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
    assert "- run: .ci/run\n" in text and (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_the_image_has_the_torch_that_the_tests_have():
    for name in ("Dockerfile", "Makefile"):
        assert re.findall(r"\btorch==([\w.]+)", (ROOT / name).read_text(encoding="utf-8")) == [pins()["torch"]]


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """Names of the files in the sdist and in the wheel, without their versions, and of those that git knows."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    known = [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    folder = tmp_path_factory.mktemp("source")
    for name in known:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    code = "from setuptools import build_meta\nprint(build_meta.build_{}('dist'))"
    for kind in ("sdist", "wheel"):
        done = subprocess.run(
            [sys.executable, "-c", code.format(kind)], cwd=folder, capture_output=True, encoding="utf-8"
        )
        assert done.returncode == 0, done.stderr
    name = f"fairseq_dlf-{fairseq_dlf.__version__}"
    with tarfile.open(folder / "dist" / f"{name}.tar.gz") as archive:
        source = {each.name.removeprefix(f"{name}/") for each in archive if each.isfile()}
    with zipfile.ZipFile(folder / "dist" / f"{name}-py3-none-any.whl") as archive:
        built = set(archive.namelist())
    return set(known), source, built


def test_the_sdist_holds_all_that_a_clone_does(distributions):
    known, source, _ = distributions
    assert known - source == set()


def test_the_wheel_holds_the_package_alone(distributions):
    known, _, built = distributions
    package = {name for name in known if name.startswith("fairseq_dlf/")}
    assert {name for name in built if ".dist-info/" not in name} == package
    assert any(name.endswith("licenses/LICENSE") for name in built)


def test_the_citation_is_of_this_version():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {fairseq_dlf.__version__}\n" in text


def test_the_changelog_begins_with_this_version():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    dated = re.findall(r"^## \[(.+)\] - \d{4}-\d\d-\d\d$", text, re.MULTILINE)
    assert dated[0] == fairseq_dlf.__version__


def test_signatures_in_the_documentation_are_of_this_version():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    shown = {one for page in pages for one in re.findall(r"\|version:([\d.]+\d)", page.read_text(encoding="utf-8"))}
    assert shown == {fairseq_dlf.__version__, pins()["sacrebleu"]}
