"""How benchmarks are timed, summed up and written down."""

import gc
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import torch

from fairseq_dlf.core.files.replacement import replacing
from fairseq_dlf.core.support.allocation import keep_freed_memory

ROOT = Path(__file__).parents[1]
PACKAGES = ("torch", "numpy", "ve-fairseq", "higher", "torchopt")


class Figure(NamedTuple):
    """A quantity that was measured n times."""

    median: float
    spread: float
    n: int

    def __str__(self) -> str:
        return f"{self.median:.2f} ± {self.spread:.2f}"


def settle() -> None:
    """Set one thread, keep freed memory, and silence warnings during timed code."""
    torch.set_num_threads(1)
    keep_freed_memory()
    warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask")


def progress(text: str) -> None:
    """Print a line on the progress, to another stream than the tables."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def figure(values: Sequence[float]) -> Figure:
    """Return the median and half the interquartile range."""
    spread = 0.0
    if len(values) > 1:
        first, _, third = statistics.quantiles(values, n=4, method="inclusive")
        spread = (third - first) / 2
    return Figure(statistics.median(values), spread, len(values))


def interleaved(
    runs: Mapping[str, Callable[[], Any]], repeats: int, warm_up: Mapping[str, Callable[[], Any]] | None = None
) -> dict[str, list[float]]:
    """Measure the seconds of each run, once per repeat.

    All runs take their turn in each repeat, beginning with another one each time, so that
    a machine that slows down or is shared slows all of them alike. Each has a forked process
    of its own: in a common one, plain training is ten per cent slower after a method that
    leaves a large and scattered heap behind.

    Args:
        warm_up: what each process calls once before, in place of `runs` where these are long.
    """
    # What exists already is no garbage: collecting between the runs need not go through it.
    gc.collect()
    gc.freeze()
    names, workers = list(runs), {}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    try:
        for name in names:
            workers[name] = _Worker(runs[name], (warm_up or runs)[name])
        for repeat in range(repeats):
            start = repeat % len(names)
            for name in names[start:] + names[:start]:
                seconds[name].append(workers[name].seconds())
    finally:
        gc.unfreeze()
        for worker in workers.values():
            worker.close()
    return seconds


class _Worker:
    """A forked process that runs one thing at a time, whenever it is told to."""

    def __init__(self, run: Callable[[], Any], warm_up: Callable[[], Any]):
        context = multiprocessing.get_context("fork")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, run, warm_up), daemon=True)
        self._process.start()
        # The parent's copy would keep a broken pipe from being noticed.
        theirs.close()
        self._answer()

    def seconds(self) -> float:
        self._pipe.send("run")
        return self._answer()

    def _answer(self) -> Any:
        try:
            return self._pipe.recv()
        except EOFError:
            raise RuntimeError("a run that was to be timed failed: its error is printed above") from None

    def close(self) -> None:
        self._process.terminate()
        self._process.join()


def _serve(pipe: Connection, run: Callable[[], Any], warm_up: Callable[[], Any]) -> None:
    """Answer each message by the seconds of a run."""
    warm_up()
    pipe.send(None)
    while pipe.recv() is not None:
        gc.collect()
        began = time.perf_counter()
        run()
        pipe.send(time.perf_counter() - began)


def ratios(seconds: Mapping[str, Sequence[float]], base: str) -> dict[str, Figure]:
    """Return the cost of each run in units of the run `base` of the same repeat."""
    return {
        name: figure([mine / its for mine, its in zip(values, seconds[base], strict=True)])
        for name, values in seconds.items()
        if name != base
    }


def markdown(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Write a Markdown table."""
    lines = [list(map(str, headings)), ["---"] * len(headings), *(list(map(str, row)) for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def circumstances() -> dict[str, Any]:
    """Return commit, machine and versions, without which figures mean nothing."""
    return {"commit": _commit(), "machine": _machine(), "versions": _versions()}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a mapping as JSON, and its folder if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"cpu": model or platform.machine(), "cores": os.cpu_count(), "memory_gib": round(memory, 1), "threads": 1}


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
