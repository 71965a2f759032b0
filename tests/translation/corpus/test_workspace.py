"""The folder of a preparation: manifests, foreign files, full disks."""

import errno
import json

import pytest

pytest.importorskip("fairseq")

from fairseq_dlf.core.support.errors import DiskError, InputError  # noqa: E402
from fairseq_dlf.translation.corpus.settings import PreparationSettings  # noqa: E402
from fairseq_dlf.translation.corpus.workspace import Workspace, require_own  # noqa: E402

SETTINGS = PreparationSettings("parallel", "de", "en", "subword_nmt", 50, False, 175, 9.0, {"train.de": "00"})
LEARN = ("learn", "learn a BPE")


def begun(out):
    """A workspace whose first step was finished."""
    out.mkdir(exist_ok=True)
    workspace = Workspace.open(out, SETTINGS)

    def tokenise(part):
        for name in workspace.outputs["tokenise"]:
            (part / name).parent.mkdir(exist_ok=True)
            (part / name).touch()
        return {"dropped_pairs": 3}

    workspace.run("tokenise", "tokenise", tokenise)
    return workspace


def test_a_finished_step_is_known_again(tmp_path):
    begun(tmp_path / "out")
    again = Workspace.open(tmp_path / "out", SETTINGS)
    assert again.is_finished("tokenise") and not again.is_finished("learn")
    assert again.fact("tokenise", "dropped_pairs") == 3 and again.fact("tokenise", "unknown") == 0


@pytest.mark.parametrize("kind", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_named_and_leaves_nothing_behind(tmp_path, kind):
    workspace = begun(tmp_path / "out")

    def full(part):
        (part / "code").write_text("half")
        raise OSError(kind, "no room")

    with pytest.raises(DiskError, match="the disk is full: .*out could not be written.*run the same command again"):
        workspace.run(*LEARN, full)
    assert not (tmp_path / "out" / "code").exists() and not (tmp_path / "out" / ".part").exists()
    assert Workspace.open(tmp_path / "out", SETTINGS).is_finished("tokenise")


def test_what_a_killed_run_left_is_cleared(tmp_path):
    out = tmp_path / "out"
    (out / ".part").mkdir(parents=True)
    for name in ("lock", "prepare.json.tmp", ".part/code"):
        (out / name).touch()
    require_own(out)
    Workspace.open(out, SETTINGS)
    assert not (out / ".part").exists() and json.loads((out / "prepare.json").read_text())["finished"] == {}


def test_a_foreign_folder_is_refused_and_left_alone(tmp_path):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(InputError, match="is not empty and has no prepare.json") as caught:
        Workspace.open(tmp_path, SETTINGS, overwrite=True)
    assert caught.value.setting == "out"
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "null",
        "[]",
        "5",
        '{"options": null, "finished": {}}',
        '{"options": {}, "finished": {"tokenise": 5}}',
        '{"options": {}, "finished": []}',
        "[" * 100_000,
        "\udcff",
    ],
)
def test_a_damaged_manifest_is_named(tmp_path, content):
    (tmp_path / "prepare.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match="prepare.json cannot be read.*prepare again") as caught:
        Workspace.open(tmp_path, SETTINGS)
    assert caught.value.setting == "overwrite"
    assert Workspace.open(tmp_path, SETTINGS, overwrite=True).record["finished"] == {}


def test_a_manifest_that_is_a_folder_is_named(tmp_path):
    (tmp_path / "prepare.json").mkdir()
    with pytest.raises(InputError, match="prepare.json cannot be read"):
        Workspace.open(tmp_path, SETTINGS)
