"""A full disk: earlier files stay whole, the message says disk, and the same command goes on once there is room."""

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from fairseq_dlf.images.command_line import main as images
from tests.robustness import made
from tests.robustness.driver import CommandLine, contents_of, difference
from tests.robustness.readers import RefusedError, by_command

ROOM_KIB = 64 * 1024


# Quick: a system that has no room ------------------------------------------------


@pytest.fixture
def full(monkeypatch) -> Callable[[], None]:
    """From the call on, nothing that is flushed to the disk finds room."""

    def flush(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return lambda: monkeypatch.setattr(os, "fsync", flush)


def _longer(line: CommandLine, **changes: int) -> list[str]:
    arguments = [str(each) for each in line.arguments]
    for name, value in changes.items():
        arguments[arguments.index(f"--{name.replace('_', '-')}") + 1] = str(value)
    return arguments


@pytest.mark.parametrize("command", ["teach", "train", "table"])
def test_images_name_a_full_disk_and_go_on(command, tmp_path, full, monkeypatch):
    out = tmp_path / "out"
    if command == "teach":
        short = partial(made.teach, out, epochs=1)
        first, second = _longer(short(steps=1)), _longer(short(steps=2))
    elif command == "train":
        options = [*made.IMAGES, "--lr", "0.1", "--epochs", "1", "--out", str(out)]
        first, second = ["train", *options, "--seeds", "1"], ["train", *options, "--seeds", "2"]
    else:
        by_command(images, "train", *made.IMAGES, "--lr", "0.1", "--epochs", "1", "--out", out)
        first = second = ["table", str(out), "--json", str(tmp_path / "table.json")]
    by_command(images, *first)
    before = contents_of(tmp_path)
    with monkeypatch.context():
        full()
        with pytest.raises(RefusedError, match="disk"):
            by_command(images, *second)
    monkeypatch.undo()
    after = contents_of(tmp_path)
    assert difference(before, {name: after.get(name) for name in before}) is None
    by_command(images, *second)


# Slow: a disk that is full -------------------------------------------------------


def _mount(folder: Path, kib: int, *options: str) -> None:
    command = ["mount", "-t", "tmpfs", "-o", ",".join([f"size={kib}k", *options]), "tmpfs", str(folder)]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A folder on a disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        _mount(folder, 8)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a small disk needs root and mount -t tmpfs: {error}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True)


def fill(line: CommandLine, disk: Path, out: Path, wanted: dict, sizes_kib: range) -> list[str]:
    """Run a command on disks of growing size, each a new one, then with room; return what went wrong."""
    faults = []
    for kib in sizes_kib:
        for path in sorted(disk.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        _mount_again(disk, kib)
        ended = line.start().wait()
        if ended.status == 0:
            faults += [] if (text := difference(wanted, contents_of(out))) is None else [f"{kib} KiB: {text}"]
            continue
        if "disk" not in ended.printed.strip().splitlines()[-1]:
            faults.append(f"{kib} KiB: the last line is {ended.printed.strip().splitlines()[-1]}")
        _mount_again(disk, ROOM_KIB)
        resumed = line.start().wait()
        if resumed.status != 0:
            faults.append(f"{kib} KiB, then room: {resumed.printed.strip().splitlines()[-1]}")
        elif (text := difference(wanted, contents_of(out))) is not None:
            faults.append(f"{kib} KiB, then room: {text}")
    return faults


def _mount_again(disk: Path, kib: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={kib}k", str(disk)], check=True, capture_output=True)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ["teach", "train", "prepare", "fairseq teach", "fairseq student", "average", "plot"])
def test_small_disks(name, request, small_disk, tmp_path, figures):
    line, sizes = _line(name, request, tmp_path)
    straight, out = tmp_path / "straight", small_disk / "out"
    line(straight).finish()
    faults = fill(line(out), small_disk, out, contents_of(straight), sizes)
    figures(disks=len(sizes), kib=[sizes[0], sizes[-1]], faults=faults)
    assert not faults, "\n".join(faults)


def _line(name: str, request, tmp_path: Path) -> tuple[Callable[[Path], CommandLine], range]:
    """A command that writes to a folder, and sizes of disks, in KiB, on which it fails here and there."""
    if name == "teach":
        return partial(made.teach, steps=3, epochs=1), range(4, 68, 8)
    if name == "plot":
        made.teach(tmp_path / "taught", steps=2, epochs=1).finish()
        return (lambda out: CommandLine("fairseq_dlf.images", ["plot", tmp_path / "taught", "--out", out])), range(
            8, 88, 16
        )
    if name == "train":
        made.teach(tmp_path / "taught", steps=1, epochs=1).finish()
        teacher = tmp_path / "taught/teacher.safetensors"
        return partial(made.train, teacher=teacher, epochs=3), range(4, 68, 8)
    corpus = request.getfixturevalue("corpus")
    if name == "prepare":
        return partial(made.prepare, raw=corpus.raw), range(8, 168, 20)
    if name == "average":
        tool, inputs = "fairseq_dlf.translation.tools.average", [corpus.student, corpus.student]
        return (lambda out: CommandLine(tool, ["--inputs", *inputs, "--output", out / "mean.pt"])), range(8, 88, 16)
    if name == "fairseq teach":
        return partial(made.fairseq_teach, corpus, updates=2), range(16, 216, 25)
    return partial(made.fairseq_student, corpus, updates=3), range(40, 840, 100)
