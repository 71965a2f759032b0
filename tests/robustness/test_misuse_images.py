"""Wrong options of image classification: one line with what was got, what is wanted and what to do."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch

from fairseq_dlf.images.command_line import main
from tests.robustness import made
from tests.robustness.readers import RefusedError, by_command

SHORT = [*made.IMAGES, "--epochs", "1"]
SMALL = {"train": SHORT, "teach": [*SHORT, "--teacher-steps", "1"], "adapt": SHORT}
# Command and what its one line has to say.
WRONG = {
    "threads": ("train --threads 100000 --out x", ["--threads", "100000"]),
    "no folder": ("train --out ''", ["--out", "no name|empty"]),
    "no teacher": ("train --loss dlf --teacher '' --out x", ["--teacher", "empty"]),
    "measure-images": ("teach --measure-images -1 --out x", ["--measure-images", "-1"]),
    "many measure-images": ("teach --measure-images 99999 --out x", ["measure_images|--measure-images", "99,?999"]),
    "weight decay": ("train --weight-decay inf --out x", ["--weight-decay", "inf"]),
    "momentum": ("train --momentum 1 --out x", ["momentum", "1"]),
    "rate of train": ("train --lr 0 --out x", ["--lr", "0"]),
    "rate of teach": ("teach --lr 0 --out x", ["--lr", "0"]),
    "no rate": ("train --lr nan --out x", ["--lr", "nan"]),
    "device": ("train --device meta --out x", ["--device", "meta"]),
    "great model": ("train --model mlp-99999999999 --out x", ["--model|model", "99,?999,?999,?999"]),
    "teacher without its loss": ("train --loss cross_entropy --teacher t.safetensors --out x", ["t.safetensors"]),
    "folder is a file": ("train --out file", ["file", "folder"]),
    "folder under a file": ("train --out file/x", ["file", "folder"]),
    "teacher is a folder": ("train --loss dlf --teacher . --out x", [r"\."]),
    "student is a folder": ("train --student . --out x", [r"\."]),
    "data is a file": ("train --data mnist:file --out x", ["file"]),
    "split seed": ("train --split-seed x --out x", ["--split-seed", "x"]),
    "train images": ("train --train-images -1 --out x", ["--train-images|train_images|training images", "-1"]),
    "seeds": ("train --seeds 0 --out x", ["--seeds", "0"]),
    "loss option": ("train --loss smooth --loss-options smoothness=nan --out x", ["smoothness|sharpness|nan"]),
    "keys": ("teach --keys 0 --out x", ["--keys", "0"]),
    "share": ("teach --ce-share 2 --out x", ["--ce-share|ce_share", "2"]),
    "no share": ("teach --ce-share nan --out x", ["--ce-share|ce_share", "nan"]),
    "truncate": ("teach --truncate -1 --out x", ["--truncate|truncat", "-1"]),
    "clip": ("teach --clip-cotangent -1 --out x", ["--clip-cotangent|cotangent", "-1"]),
    "collapse": ("teach --collapse-share 2 --out x", ["--collapse-share|collapse_share", "2"]),
    "memory": ("teach --trajectory-memory 1KB --out x", ["--trajectory-memory", "1KB|1000 B"]),
    "measure share": ("teach --measure-share 1.5 --out x", ["--measure-share|measure_share", "1.5"]),
    "no window": ("adapt --window 0 --out x", ["--window", "0"]),
    "long window": ("adapt --window 99999 --out x", ["--window", "99,?999"]),
    "no children": ("adapt --children 0 --out x", ["--children", "0"]),
    "points of adapt": ("adapt --progress-points 3 --out x", ["--progress-points"]),
    "controller going back": ("adapt --teacher controller --out x", ["--estimator", "reinforce"]),
    "reinforce without draws": ("teach --estimator reinforce --out x", ["--teacher", "controller", "reverse"]),
    "table of nothing": ("table nowhere", ["nowhere"]),
    "table of a file": ("table file", ["file"]),
    "JSON into a folder": ("table ce --json .", ["--json|json", r"\."]),
    "JSON under a file": ("table ce --json file/t.json", ["--json|file"]),
    "no such baseline": ("table ce --baseline other", ["other", "ce"]),
    "epochs of a plot": ("plot taught --epochs nan --out plots", ["--epochs", "nan"]),
    "classes of a plot": ("plot taught --classes 99 --out plots", ["99"]),
    "plots into a file": ("plot ce --out file", ["file"]),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with a finished training `ce`, a teacher `taught`, and a `file`."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "file").write_text("I am a file.\n")
    by_command(main, "train", *SMALL["train"], "--out", folder / "ce")
    by_command(main, "teach", *SMALL["teach"], "--out", folder / "taught")
    return folder


@pytest.fixture(autouse=True)
def few_threads(monkeypatch):
    """A test that lets so many through must not take the machine's threads."""
    real = torch.set_num_threads
    monkeypatch.setattr(torch, "set_num_threads", lambda number: real(min(number, 2)))


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_option_is_named(name, runs, tmp_path, monkeypatch):
    work = tmp_path / "work"
    shutil.copytree(runs, work)
    monkeypatch.chdir(work)
    command, words = WRONG[name]
    verb, *rest = shlex.split(command)
    with pytest.raises(RefusedError) as refused:
        by_command(main, verb, *SMALL.get(verb, []), *rest)
    for word in words:
        assert re.search(word, str(refused.value)), str(refused.value)
    # What was there is as it was, and nothing came beside it but the folder of the run.
    assert _files(work) == _files(runs)


def _files(folder: Path) -> dict[str, int]:
    found = {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    return {name: size for name, size in found.items() if not name.startswith(("x/", "plots/"))}
