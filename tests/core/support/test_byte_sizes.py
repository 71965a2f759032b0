"""Sizes of memory, read and written."""

import pytest

from fairseq_dlf.core.support.byte_sizes import human_size, size_in_bytes
from fairseq_dlf.core.support.errors import InputError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *(("17", 17), (" 3 B ", 3), ("1e6", 10**6), ("1.5 kib", 1536)),
        *(("2KB", 2000), ("500MB", 500_000_000), ("2gb", 2_000_000_000)),
        *(("2KiB", 2048), ("2MiB", 2_097_152), ("2GiB", 2_147_483_648)),
    ],
)
def test_reads_sizes(text, size):
    assert size_in_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "2 giga", "1..5MB", "-2GiB", ".", "1e999"])
def test_refuses_what_is_no_size(text):
    with pytest.raises(InputError, match="is not a size: write it as 2GiB"):
        size_in_bytes(text)


def test_writes_sizes():
    assert [human_size(n) for n in (17, 1536, 3 * 2**20, 5 * 2**30)] == ["17 B", "1.5 KiB", "3.0 MiB", "5.0 GiB"]
    assert [human_size(n) for n in (1023, 1024, 2**20, 2**30)] == ["1023 B", "1.0 KiB", "1.0 MiB", "1.0 GiB"]
