"""What a figure depends on besides its command: commit, machine, versions and data."""

import os
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from experiments.records import Data, Machine
from fairseq_dlf.core.support.errors import MissingFileError

ROOT = Path(__file__).resolve().parents[1]
# fairseq comes under several names.
PACKAGES = ("torch", "numpy", "sacrebleu", "ve-fairseq", "fairseq-fixed", "fairseq")


def commit(root: Path = ROOT) -> str:
    """Return the commit of the repository, with '-dirty' where files differ from it, or 'unknown' outside of one."""
    try:
        head = _git(root, "rev-parse", "HEAD")
        # Records of this very table are no change of what it runs.
        changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", ":!results")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("-dirty" if changed else "")


def machine(threads: int) -> Machine:
    """Describe this machine.

    Args:
        threads: of each run.
    """
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return Machine(cpu=_cpu(), cores=os.cpu_count() or 1, threads=threads, versions=found, gpu=_gpu())


def data(folder: Path) -> Data:
    """Return the fingerprint of a corpus that dlf-prepare has written.

    Args:
        folder: `--out` of dlf-prepare.

    Raises:
        MissingFileError: it holds no binarised training set.
    """
    return data_bin(folder / "bin")


def data_bin(folder: Path) -> Data:
    """Return the fingerprint of a data-bin.

    Raises:
        MissingFileError: it holds no binarised training set.
    """
    # fairseq takes seconds to import, which reports and lists of runs can do without.
    from fairseq.data import Dictionary
    from fairseq.data.data_utils import load_indexed_dataset

    from fairseq_dlf.translation.hooks.dictionaries import dictionary_fingerprint

    sides = sorted(folder.glob("train.*-*.*.idx"))
    if not sides:
        raise MissingFileError(f"{folder} holds no binarised training set: prepare the data again")
    source, target = sides[0].name.split(".")[1].split("-")
    dictionary = Dictionary.load(str(folder / f"dict.{target}.txt"))
    pairs = load_indexed_dataset(str(folder / f"train.{source}-{target}.{target}"), dictionary)
    return Data(dictionary_fingerprint(dictionary), len(pairs))


def _git(root: Path, *words: str) -> str:
    command: Sequence[str] = ("git", *words)
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.strip()


def _gpu() -> str | None:
    # torch takes seconds to import, which reports and lists of runs can do without.
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
