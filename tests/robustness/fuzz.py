"""Damages the files of one reader and notes what the reader makes of each.

    python -m tests.robustness.fuzz READER FILES SEED CORPUS OUT

reads every file in a forked child with limits; `test_fuzz.py` starts it, and does the same in process for a few.
"""

import functools
import json
import os
import random
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sklearn.datasets

from fairseq_dlf.core.support.errors import UserError
from tests.robustness.children import limit
from tests.robustness.damage import BOMBS, EXECUTED
from tests.robustness.driver import difference
from tests.robustness.readers import READERS, Reader, RefusedError

# Of a file of some kilobytes; the memory comes on top of what torch has taken.
CPU_S, MEMORY_BYTES = 20, 2**30


@dataclass
class Found:
    """What a reader made of damaged files.

    Attributes:
        reader: its name.
        files: how many it was given.
        ends: how many were refused by name, read as ever, or taken as other content by design.
        faults: the other ones: kind of damage, number, what happened.
    """

    reader: str
    files: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def note(self, end: str, kind: str, number: int) -> None:
        self.files += 1
        if end.startswith("fault: "):
            self.faults.append(f"{kind} ({number}): {end.removeprefix('fault: ')}")
        else:
            self.ends[end] += 1


def fuzz(
    reader: Reader, files: int, seed: int, corpus: Path, once: Callable[[Callable[[], str]], str], bombs: bool = False
) -> Found:
    """Have a reader read damaged files.

    Args:
        files: how many; the kinds of damage take turns.
        seed: of every damage.
        corpus: folder of `made.corpus`.
        once: runs one case, here or in a child.
        bombs: whether files that unpack to gigabytes are among them.
    """
    found = Found(reader.name)
    kinds = [kind for kind in reader.damages if bombs or kind not in BOMBS]
    with tempfile.TemporaryDirectory() as base:
        good = Path(base) / "good"
        good.mkdir()
        reader.make(good, corpus)
        wanted = _read_copy(reader, good, Path(base) / "wanted")
        # A shuffled round, so that few files show many kinds.
        order = random.Random(f"{reader.name} {seed}").sample(kinds, len(kinds))
        for number in range(files):
            kind, folder = order[number % len(order)], Path(base) / "case"
            shutil.copytree(good, folder, symlinks=True)
            draw = random.Random(f"{reader.name} {seed} {number}")
            found.note(once(lambda: _case(reader, folder, kind, draw, wanted)), kind, number)  # noqa: B023
            shutil.rmtree(folder)
    return found


def _read_copy(reader: Reader, good: Path, folder: Path) -> Any:
    shutil.copytree(good, folder, symlinks=True)
    return reader.read(folder)


def _case(reader: Reader, folder: Path, kind: str, draw: random.Random, wanted: Any) -> str:
    """Damage the file, read it, and say in a word how that ended."""
    path = folder / reader.file
    reader.damages[kind](path, draw)
    end = _end(reader, folder, path, kind, wanted)
    return "fault: code in the file was executed" if (path.parent / EXECUTED).exists() else end


def _end(reader: Reader, folder: Path, path: Path, kind: str, wanted: Any) -> str:
    try:
        read = reader.read(folder)
    except (UserError, RefusedError) as error:
        text = str(error)
        named = (path.name in text or reader.also_named in text) and "\n" not in text
        return "refused" if named else f"fault: a message without the file: {error}"
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        return f"fault: {text} ({Path(place.filename).name}:{place.lineno})"
    changed = difference(wanted, read)
    if changed is None:
        return "the same"
    return "taken by design" if kind in reader.taken else f"fault: taken, {changed}"


# Children ------------------------------------------------------------------------


def here(case: Callable[[], str]) -> str:
    """Run a case in this process."""
    return case()


def in_a_child(case: Callable[[], str]) -> str:
    """Run a case in a forked child with limits."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        limit(CPU_S, MEMORY_BYTES)
        os.write(write, case().encode()[:4000])
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        end = pipe.read().decode()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return end or f"fault: the reader ended with status {status}, after {CPU_S} s or {MEMORY_BYTES >> 20} MiB"


def main() -> None:
    """Fuzz one reader in children, and write what was found as JSON."""
    name, files, seed, corpus, out = sys.argv[1:]
    # Read once, not for every file.
    sklearn.datasets.load_digits = functools.cache(sklearn.datasets.load_digits)
    found = fuzz(READERS[name], int(files), int(seed), Path(corpus), in_a_child, bombs=True)
    Path(out).write_text(json.dumps(vars(found)), encoding="utf-8")


if __name__ == "__main__":
    main()
