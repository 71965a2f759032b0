"""The archive of IWSLT14 within bounds; its text is prepared in test_prepare.py."""

import pytest

pytest.importorskip("fairseq")

from fairseq_dlf.core.files import unpacking  # noqa: E402
from fairseq_dlf.core.support.errors import InputError  # noqa: E402
from fairseq_dlf.translation.corpus.iwslt14 import read_members, segment_lines, train_lines  # noqa: E402
from tests.translation.corpus.made_corpora import write_archive  # noqa: E402


def test_only_wanted_members_are_kept(tmp_path):
    archive = write_archive(tmp_path / "a.tgz", {"de-en/a": "eins", "de-en/b": "zwei", "de-en/c": "drei"})
    assert read_members(archive, {"de-en/b", "de-en/c", "de-en/d"}) == {"de-en/b": b"zwei", "de-en/c": b"drei"}


@pytest.mark.parametrize("bomb", ["de-en/a", "unwanted"])
def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch, bomb):
    monkeypatch.setattr(unpacking, "SMALL", 2**20)
    archive = write_archive(tmp_path / "a.tgz", {bomb: "0" * 2**22, "de-en/z": "x"})
    with pytest.raises(InputError, match="a.tgz has .* and unpacks to more than 1.0 MiB"):
        read_members(archive, {"de-en/a", "de-en/z"})


def test_a_byte_of_the_checksum_that_changed_is_noticed(tmp_path):
    archive = write_archive(tmp_path / "de-en.tgz", {"de-en/a": "eins"})
    content = bytearray(archive.read_bytes())
    content[-8] ^= 1
    archive.write_bytes(content)
    with pytest.raises(InputError, match="de-en.tgz"):
        read_members(archive, {"de-en/a"})


def test_mark_up_of_train_and_test_is_taken_off():
    lines = ["<url>x</url>", "<title> Ein Titel </title>", " Text ", "<translator href='x'>N</translator>"]
    assert train_lines(lines) == ["Ein Titel", "Text"]
    assert segment_lines(["<doc>", '<seg id="12"> It’s one. </seg>', "</doc>"]) == ["It's one."]
