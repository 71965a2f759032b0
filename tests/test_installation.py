"""What `pip install .` brings on which machine: core and images everywhere, translation where fairseq can be had."""

import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

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


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib is new in Python 3.11")
@pytest.mark.parametrize(("system", "machine", "version", "translation"), MACHINES.values(), ids=MACHINES)
def test_each_machine_gets_what_it_can_install(system, machine, version, translation):
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert names(project["dependencies"], system, machine, version) == CORE | translation
    by_hand = names(project["optional-dependencies"]["translation"], system, machine, version)
    assert by_hand == TRANSLATION | (set() if translation else {"fairseq-fixed"})
