"""Draw one-line changes of the sources, and count those that the tests beside them notice.

cosmic-ray lists the changes and makes them; this program draws the sample, says
which tests belong to a file, and runs them on a copy of the repository for each
worker.
"""

import argparse
import difflib
import json
import multiprocessing
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

import tomllib
from cosmic_ray.commands.init import init
from cosmic_ray.mutating import use_mutation
from cosmic_ray.plugins import get_operator
from cosmic_ray.work_db import WorkDB
from cosmic_ray.work_item import MutationSpec

from tests.forking import PRELOADED, TIMEOUT_S, Command, Finished

ROOT = Path(__file__).parents[2]
SETTINGS = tomllib.loads((Path(__file__).parent / "sample.toml").read_text(encoding="utf-8"))
FORK = multiprocessing.get_context("fork")
PYTEST = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow"]
# A change that makes a loop endless is noticed by the time that it takes.
PATIENCE, LEAST_TIMEOUT_S = 2.0, 60.0


class Verdict(NamedTuple):
    """What became of one changed line."""

    module: str
    operator: str
    noticed: bool
    diff: str


def main() -> None:
    options = parse_options()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        copies = [copy_repository(Path(scratch, str(number))) for number in range(options.workers)]
        chosen = draw(mutations(copies[0], options.only), options.sample, options.seed)
        tests = {module: tests_of(module) for module in sorted({str(one.module_path) for one in chosen})}
        with ProcessPoolExecutor(options.workers, FORK, enter, (queue_of(copies),)) as pool:
            folders = sorted({Path(file).parent for files in tests.values() for file in files})
            timeout_s = max(pool.map(timeout_of, folders))
            jobs = [(one, tests[str(one.module_path)], timeout_s) for one in chosen]
            verdicts = []
            for done in as_completed([pool.submit(judge, job) for job in jobs]):
                verdicts.append(verdict := done.result())
                print(f"{len(verdicts)}/{len(jobs)} {verdict.module}: {'noticed' if verdict.noticed else verdict.diff}")
                sys.stdout.flush()
    report(verdicts, options, time.monotonic() - began)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--sample", type=int, default=300, help="changes to draw (default: 300)")
    parser.add_argument("--seed", type=int, default=1, help="of the draw (default: 1)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: one a core)")
    parser.add_argument("--only", default="", help="files whose path holds this text (default: all of sample.toml)")
    parser.add_argument("--out", type=Path, default=Path("mutants.json"), help="verdicts (default: mutants.json)")
    return parser.parse_args()


# The sample -----


def mutations(copy: Path, only: str) -> list[MutationSpec]:
    """Return the changes that could be drawn, in the order of files and lines, with paths from the copy's root."""
    os.chdir(copy)
    paths = sorted({path for pattern in SETTINGS["modules"] for path in Path().glob(pattern) if only in str(path)})
    database = WorkDB(":memory:", WorkDB.Mode.create)
    init(paths, database, {})
    every = [mutation for item in database.work_items for mutation in item.mutations]
    database.close()
    wanted = re.compile("|".join(SETTINGS["operators"]))
    lines = {path: path.read_text(encoding="utf-8").splitlines() for path in paths}
    return sorted(
        (one for one in every if wanted.fullmatch(one.operator_name) and not is_equivalent(lines, one)),
        key=lambda one: (str(one.module_path), one.start_pos, one.operator_name, one.occurrence),
    )


def is_equivalent(lines: dict[Path, list[str]], mutation: MutationSpec) -> bool:
    """Whether the changed line is one of those that the settings name as equivalent."""
    line = lines[Path(mutation.module_path)][mutation.start_pos[0] - 1]
    return any(re.search(pattern, line.strip()) for pattern in SETTINGS["equivalent"])


def draw(every: list[MutationSpec], sample: int, seed: int) -> list[MutationSpec]:
    """Return as many changes as wanted, or all; those of one file in a row."""
    print(f"{len(every)} changes in {len({one.module_path for one in every})} files; {sample} are drawn, seed {seed}")
    chosen = random.Random(seed).sample(range(len(every)), min(sample, len(every)))
    return [every[place] for place in sorted(chosen)]


def tests_of(module: str) -> tuple[str, ...]:
    """Return the tests of a source: the file of its name, then those of the nearest folder that import the source."""
    source = Path("tests", Path(module).relative_to("fairseq_dlf"))
    own, folder = source.with_name(f"test_{source.name}"), source.parent
    while not (beside := sorted(path.relative_to(ROOT) for path in (ROOT / folder).glob("test_*.py"))):
        folder = folder.parent
    dotted = module.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    importing = [path for path in beside if dotted in (ROOT / path).read_text(encoding="utf-8") or path == own]
    return tuple(str(path) for path in sorted(importing or beside, key=lambda path: path != own))


# The workers -----


def copy_repository(target: Path) -> Path:
    """Copy what git knows of the working tree, and return the copy."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, encoding="utf-8", check=True
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
    return target


def queue_of(copies: Iterable[Path]) -> "multiprocessing.Queue[Path]":
    queue = FORK.Queue()
    for copy in copies:
        queue.put(copy)
    return queue


def enter(copies: "multiprocessing.Queue[Path]") -> None:
    """Move the worker into a copy of its own."""
    os.chdir(copies.get())
    PRELOADED.extend(["hypothesis.internal.conjecture.engine", "pytest", "numpy.testing"])


def run_tests(tests: tuple[str, ...], timeout_s: float) -> Finished:
    """Run tests in the worker's copy; an exit status of 1 says that one has failed."""
    copy = Path.cwd()
    environment = {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    return Command("pytest", *PYTEST, *tests, cwd=copy, environment=environment).wait(timeout_s)


def timeout_of(folder: Path) -> float:
    """Run a folder's tests on the unchanged sources, and return how long to wait for some of them on changed ones.

    Raises:
        RuntimeError: they fail.
    """
    began = time.monotonic()
    done = run_tests(tuple(sorted(map(str, folder.glob("test_*.py")))), TIMEOUT_S)
    if done.status != 0:
        raise RuntimeError(f"the unchanged sources fail the tests of {folder}: {done.printed[-2000:]}")
    return LEAST_TIMEOUT_S + PATIENCE * (time.monotonic() - began)


def judge(job: tuple[MutationSpec, tuple[str, ...], float]) -> Verdict:
    """Change one line, run its tests, and change it back."""
    mutation, tests, timeout_s = job
    operator = get_operator(mutation.operator_name)(**mutation.operator_args)
    with use_mutation(Path(mutation.module_path), operator, mutation.occurrence) as (before, after):
        if after is None:
            raise RuntimeError(f"{mutation} changes nothing")
        try:
            # Most changes are noticed by the first file; collecting the others takes seconds.
            noticed = any(run_tests(part, timeout_s).status != 0 for part in (tests[:1], tests[1:]) if part)
        except TimeoutError:
            noticed = True
    changed = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    diff = "\n".join(line for line in changed if not line.startswith(("---", "+++")))
    return Verdict(str(mutation.module_path), mutation.operator_name, noticed, diff)


# The report -----


def report(verdicts: list[Verdict], options: argparse.Namespace, elapsed_s: float) -> None:
    """Print the survivors and the share that was noticed, and write all verdicts."""
    verdicts = sorted(verdicts)
    options.out.resolve().write_text(json.dumps([one._asdict() for one in verdicts], indent=1) + "\n", encoding="utf-8")
    for one in verdicts:
        if not one.noticed:
            print(f"\n{one.module} {one.diff}")
    every, noticed = Counter(v.module for v in verdicts), Counter(v.module for v in verdicts if v.noticed)
    print("\n| file | noticed | of |\n|---|---|---|")
    for module in every:
        print(f"| `{module}` | {noticed[module]} | {every[module]} |")
    share = 100 * noticed.total() / every.total()
    print(
        f"\n{noticed.total()} of {every.total()} noticed: {share:.1f} % (seed {options.seed}, {elapsed_s / 60:.0f} min)"
    )


if __name__ == "__main__":
    main()
