"""Downloads, from folders in place of mirrors."""

import hashlib
import io
import tarfile

import pytest

from fairseq_dlf.core.support.errors import DiskError, InputError, StateError
from fairseq_dlf.images.data import downloads
from fairseq_dlf.images.data.downloads import ARCHIVES, Archive, fetch


def md5(content):
    return hashlib.md5(content).hexdigest()


def tar(**files):
    """A .tar.gz with a folder `inner` of these .bin files."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"inner/{name}.bin")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return made.getvalue()


@pytest.fixture
def mirror(tmp_path):
    """`mirror(name, content)`: an archive whose second mirror has it."""
    folder = tmp_path / "mirror"
    folder.mkdir()

    def put(name, content, checksum=None):
        (folder / name).write_bytes(content)
        return Archive(name, checksum or md5(content), (f"{(tmp_path / 'gone').as_uri()}/", f"{folder.as_uri()}/"))

    return put


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_fetches_what_is_missing(mirror, tmp_path):
    out = tmp_path / "new/folder"
    archives = [mirror("a.gz", b"first"), mirror("b.gz", b"second" * 10**6)]
    out.mkdir(parents=True)
    (out / "a.gz").write_bytes(b"was here")
    fetch(archives, out)
    assert files_in(out) == ["a.gz", "b.gz"]
    assert (out / "a.gz").read_bytes() == b"was here"
    assert (out / "b.gz").read_bytes() == b"second" * 10**6


def test_makes_the_folder_and_unpacks(mirror, tmp_path):
    out = tmp_path / "new/folder"
    archive = mirror("c.tar.gz", tar(x=b"one", y=b"two"))
    fetch([archive], out)
    assert files_in(out) == ["c.tar.gz", "inner/x.bin", "inner/y.bin"]
    assert (out / "inner/y.bin").read_bytes() == b"two"


def test_unpacks_again_what_is_there_already(mirror, tmp_path):
    out = tmp_path / "out"
    archive = mirror("c.tar.gz", tar(x=b"one", y=b"two"))
    fetch([archive], out)
    (tmp_path / "mirror/c.tar.gz").unlink()
    (out / "inner/x.bin").unlink()
    (out / "inner/y.bin").write_bytes(b"half")
    fetch([archive], out)
    assert (out / "inner/x.bin").read_bytes() == b"one" and (out / "inner/y.bin").read_bytes() == b"two"


def test_a_wrong_checksum_leaves_nothing(mirror, tmp_path):
    wanted = "0" * 32
    with pytest.raises(RuntimeError, match=f"a.gz was fetched, but its MD5 is {md5(b'other')}, not {wanted}"):
        fetch([mirror("a.gz", b"other", wanted)], tmp_path / "out")
    assert files_in(tmp_path / "out") == []


def test_without_a_network_every_mirror_is_named(tmp_path):
    archive = Archive("a.gz", "0" * 32, (f"{tmp_path.as_uri()}/first/", f"{tmp_path.as_uri()}/second/"))
    words = "could not fetch .*/first/a.gz .*, nor .*/second/a.gz .*: fetch a.gz by hand .* put it into .*out"
    with pytest.raises(RuntimeError, match=words):
        fetch([archive], tmp_path / "out")
    assert files_in(tmp_path / "out") == []


@pytest.mark.parametrize("content", [b"no tar", tar(x=b"1" * 5000)[:-30]])
def test_a_damaged_archive_is_named_and_leaves_nothing_else(tmp_path, content):
    (tmp_path / "c.tar.gz").write_bytes(content)
    with pytest.raises(RuntimeError, match="c.tar.gz cannot be unpacked .*: delete it and fetch it again"):
        fetch([Archive("c.tar.gz", "", ())], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["c.tar.gz"]


def test_an_archive_cannot_write_elsewhere(tmp_path):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("../../outside.bin"))
    out = tmp_path / "deep/out"
    out.mkdir(parents=True)
    (out / "c.tar.gz").write_bytes(made.getvalue())
    with pytest.raises(RuntimeError, match="outside the destination"):
        fetch([Archive("c.tar.gz", "", ())], out)
    assert files_in(tmp_path) == ["deep/out/c.tar.gz"]


def test_an_archive_of_another_size_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "UNPACKED_BOUND", 7000)
    (tmp_path / "c.tar.gz").write_bytes(tar(x=b"1" * 5000, y=b"2" * 5000))
    with pytest.raises(StateError, match="c.tar.gz unpacks to more than 6.8 KiB: it is another archive, or damaged"):
        fetch([Archive("c.tar.gz", "", ())], tmp_path)
    assert files_in(tmp_path) == ["c.tar.gz"]


def test_a_full_disk_is_named(mirror, tmp_path, monkeypatch):
    archive = mirror("a.gz", b"first")

    def full(response, part):
        raise DiskError(f"the disk is full: {part}")

    monkeypatch.setattr(downloads, "_written", full)
    with pytest.raises(DiskError, match="the disk is full"):
        fetch([archive], tmp_path / "out")
    assert files_in(tmp_path / "out") == []


def test_a_file_is_no_folder_for_downloads(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file cannot be a folder .File exists.: name another"):
        fetch([], tmp_path / "file")


def test_the_table_is_complete():
    assert {name: len(archives) for name, archives in ARCHIVES.items()} == {"mnist": 4, "cifar10": 1, "cifar100": 1}
    for archive in (archive for archives in ARCHIVES.values() for archive in archives):
        assert len(bytes.fromhex(archive.md5)) == 16
        assert all(mirror.startswith("https://") and mirror.endswith("/") for mirror in archive.mirrors)
