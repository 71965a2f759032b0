"""The command `python -m benchmarks`: run what is named, print tables, write JSON."""

import argparse
import inspect
import logging
import sys
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.timing import ROOT, circumstances, progress, settle, write_json
from fairseq_dlf.command_line import count, place, run_command

# What each measures. Modules are imported when they are run: each has run(quick, …) -> dict
# and table(result) -> str, and takes those of the options below that its run() names.
BENCHMARKS = {
    "episode": "an episode's time, in units of plain training, beside other packages",
    "memory": "peak memory of an episode against its length",
    "micro_batches": "time and peak memory of an exact step in parts",
    "error": "relative error of the hypergradient",
    "lesson": "overhead of a teacher's lesson over the bare episode",
    "adaptation": "a window of a run whose loss adapts, by each system that can",
    "teacher_file": "overhead of header and checksum in teacher files",
    "criterion": "overhead of the criterion dlf",
    "expected_bleu": "time of expected BLEU, by part",
    "student_losses": "time of a training step by each loss of students",
    "whole_run": "an episode over a whole training run of an MLP",
}
CHOICES = ("students", "steps", "repeats", "mnist")


def main() -> int:
    """Run the benchmarks that the command names, and return its exit status."""
    parser = build_parser()
    arguments = parser.parse_args()
    names = arguments.benchmarks or list(BENCHMARKS)
    options = {name: value for name in CHOICES if (value := getattr(arguments, name)) is not None}
    _require_known(parser, names, options)
    settle()

    def run() -> None:
        for name in names:
            _run(name, not arguments.full, options, arguments.out)

    return run_command(parser.prog, run, stopped="stopped; tables that were printed are in the folder of --out")


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command."""
    listed = "; ".join(f"{name}: {meaning}" for name, meaning in BENCHMARKS.items())
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=f"Benchmarks, on one thread. {listed}.")
    parser.add_argument("benchmarks", nargs="*", metavar="NAME", help=f"any of {', '.join(BENCHMARKS)}; default all")
    parser.add_argument("--full", action="store_true", help="every student and length; hours, where quick is minutes")
    parser.add_argument("--out", type=place, default=ROOT / "benchmarks/out", help="folder of the JSON files")
    parser.add_argument("--students", nargs="+", metavar="NAME", help="students of episode, memory, error and lesson")
    parser.add_argument("--steps", nargs="+", type=count, metavar="T", help="lengths of episodes")
    parser.add_argument("--repeats", type=count, metavar="N", help="how often each time is taken")
    parser.add_argument("--mnist", metavar="DIR", help="folder of MNIST's files for whole_run; default random images")
    return parser


def _require_known(parser: argparse.ArgumentParser, names: list[str], options: Mapping[str, Any]) -> None:
    from benchmarks.cases import STUDENTS

    for kind, given, known in (
        ("benchmark", names, BENCHMARKS),
        ("student", options.get("students", ()), STUDENTS),
    ):
        unknown = [name for name in given if name not in known]
        if unknown:
            parser.error(f"there is no {kind} {unknown[0]!r}; choose from {', '.join(known)}")
    for option in options:
        if not any(option in _accepted(name) for name in names):
            parser.error(f"--{option} means nothing to {', '.join(names)}")


def _accepted(name: str) -> set[str]:
    return set(inspect.signature(import_module(f"benchmarks.{name}").run).parameters)


def _run(name: str, quick: bool, options: Mapping[str, Any], out: Path) -> None:
    module, began = import_module(f"benchmarks.{name}"), time.perf_counter()
    size = "quick" if quick else "full"
    progress(f"{name}: begins, {size} size")
    result = module.run(quick, **{option: options[option] for option in options if option in _accepted(name)})
    seconds = time.perf_counter() - began
    content = {"benchmark": name, "size": size, "seconds": round(seconds, 1), **circumstances(), "result": result}
    write_json(out / f"{name}.json", content)
    print(f"### {name} ({size}, {seconds:.0f} s)\n\n{module.table(result)}\n", flush=True)


if __name__ == "__main__":
    # Packages log while they are imported.
    logging.disable(logging.WARNING)
    sys.exit(main())
