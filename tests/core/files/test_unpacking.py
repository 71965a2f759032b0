"""Gzip files within bounds."""

import gzip

import pytest

from fairseq_dlf.core.files import unpacking
from fairseq_dlf.core.files.unpacking import BoundedStream, read_gzip, unpacked_bound
from fairseq_dlf.core.support.errors import InputError


def test_a_gzip_file_is_read(tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"text" * 1_000_000))
    assert read_gzip(path) == b"text" * 1_000_000


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "a.gz is empty .0 bytes., not a gzip file: fetch it again"),
        (b"<html>404</html>", "a.gz is corrupt .*: fetch it again"),
        (gzip.compress(b"text")[:-6], "a.gz is corrupt .*: fetch it again"),
        (gzip.compress(b"text")[:-8] + bytes(8), "a.gz is corrupt .CRC.*: fetch it again"),
    ],
)
def test_what_is_no_whole_gzip_file_is_named(tmp_path, content, words):
    path = tmp_path / "a.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_gzip(path)


def test_a_file_without_rights_is_named(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")  # root may read everything

    path = tmp_path / "a.gz"
    path.write_bytes(b"x")
    monkeypatch.setattr(gzip, "open", refuse)
    with pytest.raises(InputError, match="a.gz may not be read .Permission denied.: change its rights"):
        read_gzip(path)


def test_the_bound_follows_the_size_within_limits(tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(b"x")
    assert unpacked_bound(path) == 64 * 2**20
    path.write_bytes(bytes(2**22))
    assert unpacked_bound(path) == 30 * 2**22
    with path.open("r+b") as file:
        file.truncate(2**30)
    assert unpacked_bound(path) == 2 * 2**30


def test_no_more_than_the_bound_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "SMALL", 2**20)
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(bytes(2**23)))
    with gzip.open(path) as file:
        stream = BoundedStream(path, file)
        with pytest.raises(
            InputError, match=r"a.gz has 8.\d KiB and unpacks to more than 1.0 MiB.*source that you trust"
        ):
            while stream.read(2**16):
                pass
        assert stream.given == 2**20 + 2**16
    with pytest.raises(InputError, match="a.gz has"):
        read_gzip(path)


def test_as_much_as_the_bound_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "SMALL", 2**20)
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(bytes(2**20)))
    assert len(read_gzip(path)) == 2**20
