"""Whole commands on a device, as a user types them: teaching, resuming, bf16, two workers, images."""

import math
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.gpu.check import Figures, Place, UnmetError, WrongError
from benchmarks.timing import ROOT

SCRIPTS = Path(sys.executable).parent
# As in the README, on its generated corpus, but narrow: what is checked does not depend on the width.
STUDENT = (
    "--task dlf_translation --arch lstm_dlf_1 --encoder-embed-dim 64 --encoder-hidden-size 64 --decoder-embed-dim 64 "
    "--decoder-hidden-size 64 --decoder-out-embed-dim 64 --dropout 0.1 --batch-size 16 --no-epoch-checkpoints"
)
WARM = (
    f"{STUDENT} --criterion label_smoothed_cross_entropy --label-smoothing 0.1 --optimizer adam --lr 5e-3 "
    "--clip-norm 1.0 --max-epoch 8"
)
TEACHER = (
    "--task dlf_teaching --arch dlf_teacher --criterion dlf_teaching --student-steps 20 --student-lr 1.0 "
    "--batch-size 16 --measure-sentences 32 --greedy-sentences 0 --progress-sentences 50 --optimizer adam --lr 0.05 "
    "--episodes-per-epoch 2 --log-interval 1"
)
UPDATES, FIRST_UPDATES = 4, 2
# A command that hangs, as workers that wait for one another do, leaves time for the checks after it.
COMMAND_MINUTES = 15
# Sums of several workers are added in another order.
WORKERS_LIMIT = 1e-3
# What a run says that the guard, or the probe of the precision, ends.
GUARD_WORDS = ("second-order products are off", "--student-precision float32")
IMAGE_LOSSES = {
    "cross-entropy": ("--loss", "cross_entropy"),
    "smoothing": ("--loss", "cross_entropy", "--loss-options", "smoothing=0.1"),
}
# Of images with an architecture of the paper: its students, an episode, the rates.
IMAGE_RUNS = {
    "digits": ("mlp-50", "--epochs 20", "--epochs 10 --lr 0.5", "0.2,0.5,1"),
    "mnist": ("mlp", "--epochs 5", "--epochs 2 --lr 0.3", "0.03,0.1,0.3"),
    "cifar10": ("resnet-8", "--epochs 5", "--epochs 1 --lr 0.5", "0.1,0.3,1"),
}
TEACH_IMAGES = (
    "--phi-start 0.2 --phi-off-diagonal 0,inf --key-scale 3 --sharpness 5 --teacher-lr 0.002 --teacher-steps 5"
)


def teaching(place: Place) -> Figures:
    """A teacher of an LSTM learns for four episodes, in float32."""
    return _learnt(_teach(place, "teacher", UPDATES))


def resume(place: Place) -> Figures:
    """A teacher that goes on after two of four episodes is the teacher of four, where the device repeats itself."""
    once, again = (_teach(place, name, UPDATES) for name in ("once", "again"))
    _teach(place, "resumed", FIRST_UPDATES)
    resumed = _teach(place, "resumed", UPDATES, goes_on=True)
    twice, after = _distance(once, again), _distance(once, resumed)
    figures: Figures = {"the same run twice": twice, "resumed": after}
    if twice == after == 0.0:
        return figures
    if twice == 0.0:
        raise WrongError(f"the resumed teacher differs by {after:.1e}, although the device repeats itself", figures)
    if not math.isfinite(twice + after):
        raise WrongError("a teacher is not finite", figures)
    raise UnmetError(f"the device does not repeat itself: the run twice {twice:.1e}, resumed {after:.1e} apart")


def bf16(place: Place) -> Figures:
    """The student's forward pass in bf16, under the guard that compares every episode with exact products."""
    try:
        return _learnt(_teach(place, "bf16", UPDATES, "--student-precision", "bf16")) | {"stopped by the guard": "no"}
    except WrongError as error:
        # A device whose bf16 is too coarse has to be told, which is what the guard is for.
        if any(words in error.reason for words in GUARD_WORDS):
            return {"stopped by the guard": error.reason}
        raise


def two_workers(place: Place) -> Figures:
    """Two devices that share every episode teach what one does."""
    found = torch.cuda.device_count() if place.device.type == "cuda" else 0
    if found < 2:
        raise UnmetError(f"needs two GPUs, found {found}")
    one = _teach(place, "one", UPDATES)
    two = _teach(place, "two", UPDATES, "--share-episodes", devices=2)
    figures: Figures = {"greatest difference": _distance(one, two)}
    if not figures["greatest difference"] <= WORKERS_LIMIT:
        raise WrongError(f"two workers differ from one by {figures['greatest difference']:.1e}", figures)
    return figures


def images(place: Place) -> Figures:
    """A teacher of images, two losses without one, and their table."""
    kind = place.data.partition(":")[0]
    if kind not in IMAGE_RUNS:
        raise UnmetError(f"has no run for {place.data}: name {', '.join(IMAGE_RUNS)} by --data")
    model, students, episodes, rates = IMAGE_RUNS[kind]
    where = ["--data", place.data, "--model", model, "--device", place.device.type]
    folder = place.folder / kind
    shutil.rmtree(folder, ignore_errors=True)
    _images(place, "teach", *where, *episodes.split(), *TEACH_IMAGES.split(), "--out", folder / "teacher")
    taught = ("--loss", "dlf", "--teacher", folder / "teacher" / "teacher.safetensors")
    for name, loss in {**IMAGE_LOSSES, "taught": taught}.items():
        more = (*students.split(), "--seeds", "2", "--lr", rates, "--out", folder / name)
        _images(place, "train", *where, *loss, *more)
    log = _images(place, "table", *(folder / name for name in (*IMAGE_LOSSES, "taught")))
    return {"data": place.data, "table": log.read_text(encoding="utf-8")}


# The generated corpus --------------------------------------------------------------


def _teach(place: Place, name: str, updates: int, *options: str, devices: int = 1, goes_on: bool = False) -> Path:
    """Teach as far as so many updates in the folder of this name, and return the teacher's file.

    Args:
        goes_on: whether the run in the folder is resumed. Otherwise it is removed: a run that is finished would be
            left as it is, and show nothing.
    """
    folder = place.folder / name
    if not goes_on:
        shutil.rmtree(folder, ignore_errors=True)
    student = ["--student", _warm(place)]
    length = ["--max-update", str(updates), "--save-dir", folder]
    _train(place, f"{name}-{updates}", *TEACHER.split(), *student, *options, *length, devices=devices)
    return folder / "checkpoint_last.pt"


def _warm(place: Place) -> Path:
    best = place.folder / "warm" / "checkpoint_best.pt"
    if not best.exists():
        _train(place, "warm", *WARM.split(), "--save-dir", best.parent)
    return best


def _train(place: Place, name: str, *options: object, devices: int = 1) -> None:
    prepared = place.folder / "data"
    if not (prepared / "bin" / "dict.en.txt").exists():
        raw = place.folder / "raw"
        _call(place, "corpus", [sys.executable, ROOT / "recipes" / "toy_corpus.py", "--out", raw, "--pairs", "240"])
        wanted = ["--raw", raw, "--out", prepared, "--bpe-tokens", "300"]
        _call(place, "prepare", [SCRIPTS / "dlf-prepare", "parallel", *wanted])
    on = [] if place.device.type == "cuda" else ["--cpu"]
    command = [SCRIPTS / "fairseq-train", prepared / "bin", "--user-dir", ROOT / "fairseq_dlf", *on, *options]
    _call(place, name, command, devices)


def _images(place: Place, command: str, *options: object) -> Path:
    name = f"images-{command}-{Path(str(options[-1])).name}"
    return _call(place, name, [sys.executable, "-m", "fairseq_dlf.images", command, *options])


def _call(place: Place, name: str, words: Sequence[object], devices: int = 1) -> Path:
    """Run a command to its end, and return the file of all that it printed."""
    log = place.folder / "logs" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    if place.device.type == "cuda":
        variables["CUDA_VISIBLE_DEVICES"] = _visible(place.device, devices)
    limit = max(0.0, min(place.seconds_left, 60 * COMMAND_MINUTES))
    with log.open("w", encoding="utf-8") as file:
        try:
            command = list(map(str, words))
            done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=variables, timeout=limit)
        except subprocess.TimeoutExpired:
            if place.seconds_left <= 0:
                raise UnmetError(f"{name} did not end in the {limit:.0f} s that were left (log: {log})") from None
            raise WrongError(f"{name} did not end within {COMMAND_MINUTES} minutes (log: {log})") from None
    if done.returncode != 0:
        last = log.read_text(encoding="utf-8", errors="replace").rstrip().rpartition("\n")[2]
        raise WrongError(f"{name} ended with status {done.returncode}: {last} (log: {log})")
    return log


def _visible(device: torch.device, devices: int) -> str:
    """Return CUDA_VISIBLE_DEVICES of a process whose first GPU is the device, of those that this process may use."""
    allowed = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    names = allowed or list(map(str, range(torch.cuda.device_count())))
    first = device.index or 0
    return ",".join((names[first:] + names[:first])[:devices])


# What runs left --------------------------------------------------------------------


def _learnt(checkpoint: Path) -> Figures:
    """Return how far a teacher has come from its start, where every coefficient is 1."""
    moved = float((_parameters(checkpoint)["teacher.values"] - 1).abs().max())
    if not moved > 0:
        raise WrongError(f"the teacher in {checkpoint} has not moved")
    return {"greatest move of a teacher's value": moved}


def _distance(first: Path, second: Path) -> float:
    ours, theirs = _parameters(first), _parameters(second)
    # In one tensor, whose maximum is not a number where one of the numbers is not.
    return float(torch.stack([(ours[name] - theirs[name]).abs().max() for name in ours]).max())


def _parameters(checkpoint: Path) -> dict[str, Tensor]:
    return torch.load(checkpoint, weights_only=True, map_location="cpu")["model"]
