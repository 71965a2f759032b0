"""Checkpoints on disk: what is damaged, foreign or too large is refused by name."""

import pickle
import random
import zipfile

import pytest
import torch

from fairseq_dlf.core.files.checkpoint_zip import read_checkpoint, require_checkpoint
from fairseq_dlf.core.support.errors import InputError, MissingFileError

WANTED = "a checkpoint of this test"


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.pt"
    torch.save({"model": {"w": torch.arange(6.0)}, "note": ["x", None]}, path)
    return path


def test_a_checkpoint_is_read(good):
    state = read_checkpoint(good, WANTED)
    assert state["model"]["w"].tolist() == [0, 1, 2, 3, 4, 5] and state["note"] == ["x", None]


def test_a_flipped_figure_is_noticed(good):
    content = bytearray(good.read_bytes())
    content[content.index(torch.arange(6.0).numpy().tobytes()) + 5] ^= 1
    good.write_bytes(content)
    with pytest.raises(InputError, match="good.pt cannot be read: it is damaged, .* does not fit its checksum: pass"):
        read_checkpoint(good, WANTED)


class Hostile:
    def __reduce__(self):
        return print, ("code was run",)


def packed(path, content=bytes(100), compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", content)


def claiming(path):
    """A zip with nothing in it that claims a member of a gigabyte in its directory."""
    packed(path, b"", zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    directory = content.rindex(b"PK\x01\x02")
    content[directory + 20 : directory + 28] = (2**30).to_bytes(4, "little") * 2
    path.write_bytes(content)


FOREIGN = {
    "empty": (lambda path: path.write_bytes(b""), "is empty, perhaps because a run was killed"),
    "folder": (lambda path: path.mkdir(), "is not a file"),
    "text": (lambda path: path.write_text("hello"), "is no checkpoint, or is damaged"),
    "pickle": (lambda path: path.write_bytes(pickle.dumps({"model": 1})), "is no checkpoint, or is damaged"),
    "compressed": (packed, "its member archive/data.pkl is compressed: torch.save writes no such file"),
    "larger than the file": (claiming, "it unpacks to 1,073,741,824 bytes"),
    "other zip": (lambda path: packed(path, b"x", zipfile.ZIP_STORED), "cannot be read: it is damaged"),
    "hostile": (lambda path: torch.save(Hostile(), path), "cannot be read.*not safe to load"),
}


@pytest.mark.parametrize(("write", "words"), FOREIGN.values(), ids=FOREIGN)
def test_what_is_no_checkpoint_is_named(tmp_path, capsys, write, words):
    path = tmp_path / "a.pt"
    write(path)
    with pytest.raises(InputError, match=f"a.pt.*{words}.*pass a checkpoint of this test"):
        read_checkpoint(path, WANTED)
    assert capsys.readouterr().out == ""


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(MissingFileError, match="a.pt does not exist: pass a checkpoint of this test"):
        require_checkpoint(tmp_path / "a.pt", WANTED)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    path = tmp_path / "bomb.pt"
    packed(path, bytes(50 * 2**20))
    assert path.stat().st_size < 2**17
    monkeypatch.setattr(torch, "load", None)  # a call would fail
    with pytest.raises(InputError, match="bomb.pt has .* bytes, but its member"):
        read_checkpoint(path, WANTED)


def test_damage_of_any_kind_is_named(good):
    draw, whole = random.Random(5), good.read_bytes()
    kept = 0
    for turn in range(200):
        content = bytearray(whole)
        if turn % 2:
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        else:
            del content[draw.randrange(len(content)) :]
        good.write_bytes(content)
        try:
            read_checkpoint(good, WANTED)
            kept += 1
        except InputError as error:
            assert "good.pt" in str(error) and "\n" not in str(error)
    assert kept < 80  # a flip in the padding between members changes nothing
