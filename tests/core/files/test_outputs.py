"""Places for files that will be written."""

import pytest

from fairseq_dlf.core.files.outputs import require_writable
from fairseq_dlf.core.support.errors import InputError


def test_the_folder_is_made_and_the_file_is_not(tmp_path):
    require_writable(tmp_path / "new folder" / "deep" / "a.json", "json")
    assert list((tmp_path / "new folder" / "deep").iterdir()) == []


def test_an_old_file_is_left_alone(tmp_path):
    (tmp_path / "a.json").write_text("old")
    require_writable(tmp_path / "a.json", "json")
    assert (tmp_path / "a.json").read_text() == "old"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("folder", "folder is a folder: name a file in it"),
        ("file/a.json", "file cannot be a folder .*: name another file"),
        ("file/deep/a.json", "deep cannot be a folder .Not a directory.: name another file"),
    ],
)
def test_what_cannot_be_written_is_named(tmp_path, name, words):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=words) as caught:
        require_writable(tmp_path / name, "json")
    assert caught.value.setting == "json"


def test_a_folder_without_rights_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write everywhere
    with pytest.raises(InputError, match="may not be written to: name another file"):
        require_writable(tmp_path / "a.json", "json")
