"""The allocator's setting, seen in the page faults of a fresh process."""

import ctypes
import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest

from fairseq_dlf.core.support.allocation import keep_freed_memory

FAULTS = """
import resource, sys, torch
from fairseq_dlf.core.support.allocation import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    tensors = [torch.zeros(12_000_000) for _ in range(2)]
    del tensors
before = faults()
for _ in range(5):
    tensors = [torch.zeros(12_000_000) for _ in range(2)]
    del tensors
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_memory_is_used_again():
    def faults(mode):
        done = subprocess.run([sys.executable, "-c", FAULTS, mode], capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert faults("keep") * 2 < faults("leave")


def test_glibc_is_told_what_its_header_names(monkeypatch):
    told = []
    library = SimpleNamespace(mallopt=lambda name, value: told.append((name, value)) or name != -2)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    assert not keep_freed_memory()
    assert sorted(told) == [(-3, 2_147_483_647), (-2, 67_108_864), (-1, 2_147_483_647)]
