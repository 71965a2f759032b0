"""Peak memory of a job, each measured in a process of its own."""

import ctypes
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.timing import ROOT

# Large tensors in pages of their own, given back when freed: without this a figure depends
# on how the allocator happened to split its heap.
ALLOCATOR = {"MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_MMAP_THRESHOLD_": "131072"}


def peak_mib(job: str, **arguments: Any) -> float:
    """Measure the MiB that a job needs at its peak beyond what the process held just before.

    Args:
        job: 'module:function'; the function prepares and warms up with the arguments,
            which JSON must hold, and returns what is to be measured, without arguments.
    """
    environment = {**os.environ, **ALLOCATOR, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.peak", job, json.dumps(arguments)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the job {job} with {arguments} failed:\n{done.stderr[-2000:]}")
    return float(done.stdout.splitlines()[-1])


def _measure(job: str, arguments: dict[str, Any]) -> float:
    torch.set_num_threads(1)
    module, _, function = job.partition(":")
    run = getattr(importlib.import_module(module), function)(**arguments)
    ctypes.CDLL(None).malloc_trim(0)
    # 5 sets the high-water mark back to what is held now (man 5 proc).
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _high_water_kib()
    run()
    return (_high_water_kib() - before) / 1024


def _high_water_kib() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    print(_measure(sys.argv[1], json.loads(sys.argv[2])))
