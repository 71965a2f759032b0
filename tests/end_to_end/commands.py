"""The commands that a user types, their options for a tiny corpus, and how to look into what they leave."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

import fairseq_dlf.translation.plugins  # noqa: F401  It declares what checkpoints hold as safe to load.
from tests.forking import run as fork

SIZES = {"embed-dim": 32, "hidden-size": 32}
LSTM = [f"--{side}-{name}={size}" for side in ("encoder", "decoder") for name, size in SIZES.items()]
LSTM += ["--decoder-out-embed-dim=32", "--arch=lstm_dlf_1", "--dropout=0.1"]
QUIET = ["--log-format=simple", "--num-workers=0", "--seed=3", "--log-interval=1"]
SGD = ["--optimizer=sgd", "--lr=0.5", "--batch-size=32"]
TEACHING = [
    "--task=dlf_teaching",
    "--arch=dlf_teacher",
    "--criterion=dlf_teaching",
    "--student-steps=3",
    "--student-lr=0.5",
    "--batch-size=8",
    "--measure-sentences=8",
    "--greedy-sentences=16",
    "--progress-sentences=8",
    "--episodes-per-epoch=2",
    "--candidates=4",
    "--optimizer=adam",
    "--lr=0.05",
    "--best-checkpoint-metric=bleu",
    "--maximize-best-checkpoint-metric",
]
# A teacher that moves by its plain gradient, far enough to be seen in float32.
PLAIN_TEACHER = ["--optimizer=sgd", "--lr=1e4", "--student-dropout=0", "--disable-validation", "--no-epoch-checkpoints"]
MODULES = {
    "fairseq-train": "fairseq_cli.train",
    "fairseq-generate": "fairseq_cli.generate",
    "fairseq-interactive": "fairseq_cli.interactive",
    "fairseq-validate": "fairseq_cli.validate",
    "dlf-prepare": "fairseq_dlf.translation.corpus.prepare",
    "dlf-average": "fairseq_dlf.translation.tools.average",
}


def run(command: str, *arguments: object, fails: bool = False, **options: Any) -> str:
    """Run a command as a user would from the repository, and return all that it printed."""
    done = fork(MODULES[command], *arguments, **options)
    assert (done.status != 0) == fails, done.printed[-3000:]
    return done.printed


def train(work: SimpleNamespace, *arguments: object, fails: bool = False, **options: Any) -> str:
    """Run `fairseq-train` on the corpus of `work`."""
    return run("fairseq-train", work.bin, "--user-dir=fairseq_dlf", *QUIET, *arguments, fails=fails, **options)


def taught(work: SimpleNamespace, teacher: SimpleNamespace) -> list[object]:
    """Return the options of a student that a teacher teaches for sixteen updates."""
    which = ["--teacher", teacher.folder / "checkpoint_best.safetensors", "--progress-sentences=8"]
    return [*LSTM, *SGD, "--criterion=dlf", *which, "--finetune-from-model", work.warm, "--max-update=16"]


def teach(work: SimpleNamespace, folder: Path, *options: object, by: Any = train) -> str:
    """Teach for two updates by the plain gradient."""
    start = [*TEACHING, "--student", work.warm, *PLAIN_TEACHER, "--max-update=2"]
    return by(work, *start, *options, "--save-dir", folder)


# What a run left -----


def parameters(checkpoint: Path) -> dict[str, torch.Tensor]:
    """Return the parameters in a checkpoint."""
    return torch.load(checkpoint, weights_only=True)["model"]


def assert_same_parameters(first: Path, second: Path) -> None:
    """Fail unless two checkpoints hold the same bits."""
    ours, theirs = parameters(first), parameters(second)
    assert set(ours) == set(theirs)
    for name in ours:
        assert torch.equal(ours[name], theirs[name]), name


def moved(folder: Path) -> torch.Tensor:
    """Return by how much a run has moved its teacher's values, which begin at 1."""
    return parameters(folder / "checkpoint_last.pt")["teacher.values"].double() - 1


def assert_same_move(first: Path, second: Path, within: float = 1e-5) -> None:
    """Fail unless two teachers moved alike; `within` is relative to the second's move."""
    assert moved(second).norm() > 0.01
    assert (moved(first) - moved(second)).norm() <= within * moved(second).norm()


def last_number(name: str, printed: str) -> float:
    """Return the figure that the last line with `| name figure` prints."""
    return float(re.findall(rf"\| {name} ([-0-9.]+)", printed)[-1])
