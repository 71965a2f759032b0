"""The commands that are killed, starved and misused, in sizes that take a second."""

import subprocess
import sys
from pathlib import Path
from shlex import split
from typing import NamedTuple

from tests.forking import REPOSITORY
from tests.robustness.driver import CommandLine

IMAGES = split("--data digits --train-images 100 --model mlp-8 --threads 1 --device cpu --progress-images 40")
TEACH = split("--batch-size 20 --lr 0.3 --teacher-lr 0.01 --collapse-share 0.2 --progress-points 4 --validate-every 2")
# Output on every update: what a kill can hit.
FAIRSEQ = split("--log-format=simple --num-workers=0 --seed=3 --log-interval=1 --save-interval-updates=1 --cpu")
SIZES = {"embed-dim": 16, "hidden-size": 16}
LSTM = [f"--{side}-{name}={size}" for side in ("encoder", "decoder") for name, size in SIZES.items()]
LSTM += ["--decoder-out-embed-dim=16", "--arch=lstm_dlf_1", "--dropout=0.1"]
BLEU = ["--best-checkpoint-metric=bleu", "--maximize-best-checkpoint-metric"]
TEACHING = split(
    "--task=dlf_teaching --arch=dlf_teacher --criterion=dlf_teaching --student-steps=3 --student-lr=0.5 --batch-size=8 "
    "--measure-sentences=8 --greedy-sentences=8 --progress-sentences=8 --episodes-per-epoch=2 --candidates=4 "
    "--optimizer=adam --lr=0.05"
)


def teach(out: Path, steps: int = 12, epochs: float = 4) -> CommandLine:
    """Teach on the digits."""
    return CommandLine(
        "fairseq_dlf.images", ["teach", *IMAGES, *TEACH, "--epochs", epochs, "--teacher-steps", steps, "--out", out]
    )


def train(out: Path, teacher: Path, epochs: int = 20, seeds: int = 2) -> CommandLine:
    """Train students of the digits with a teacher."""
    options = ["--loss", "dlf", "--teacher", teacher, "--lr", 0.1, "--batch-size", 10]
    return CommandLine(
        "fairseq_dlf.images", ["train", *IMAGES, *options, "--epochs", epochs, "--seeds", seeds, "--out", out]
    )


def prepare(out: Path, raw: Path, tokens: int = 300) -> CommandLine:
    """Prepare a parallel text."""
    return CommandLine(
        "fairseq_dlf.translation.corpus.prepare", ["parallel", "--raw", raw, "--out", out, "--bpe-tokens", tokens]
    )


class Corpus(NamedTuple):
    """A small translation corpus: raw text, data-bin, a student that has seen it, a teacher after an episode."""

    raw: Path
    bin: Path
    student: Path
    teacher: Path

    @classmethod
    def at(cls, folder: Path) -> "Corpus":
        """Return where `corpus` puts them."""
        parts = ("raw", "data/bin", "warm/checkpoint_last.pt", "teacher/checkpoint_last.safetensors")
        return cls(*(folder / part for part in parts))


def toy_text(folder: Path, pairs: int = 120) -> Path:
    """Write raw text of the toy grammar."""
    command = [sys.executable, REPOSITORY / "recipes/toy_corpus.py", "--out", folder, "--pairs", pairs]
    subprocess.run([*map(str, command), "--valid", "16", "--test", "16"], check=True, capture_output=True)
    return folder


def corpus(folder: Path) -> Corpus:
    """Prepare a corpus, train the student that teaching starts from, and teach once."""
    made = Corpus.at(folder)
    toy_text(made.raw)
    prepare(made.bin.parent, made.raw).finish()
    start = [made.bin, "--user-dir=fairseq_dlf", *FAIRSEQ, *LSTM, "--task=dlf_translation", "--no-epoch-checkpoints"]
    rate = ["--criterion=label_smoothed_cross_entropy", "--optimizer=adam", "--lr=0.02", "--batch-size=16"]
    # One save at the end.
    save = ["--max-epoch=4", "--save-interval-updates=0", "--validate-interval=4", "--save-dir", made.student.parent]
    CommandLine("fairseq_cli.train", [*start, *rate, *save]).finish()
    fairseq_teach(made, made.teacher.parent, updates=1).finish()
    return made


def fairseq_teach(made: Corpus, out: Path, updates: int = 6) -> CommandLine:
    """Teach on a corpus, with a checkpoint at every update."""
    start = [made.bin, "--user-dir=fairseq_dlf", *FAIRSEQ, *TEACHING, *BLEU, "--student", made.student]
    return CommandLine("fairseq_cli.train", [*start, f"--max-update={updates}", "--save-dir", out])


def fairseq_student(made: Corpus, out: Path, updates: int = 12) -> CommandLine:
    """Train a student with a teacher, with a checkpoint at every update."""
    start = [made.bin, "--user-dir=fairseq_dlf", *FAIRSEQ, *LSTM, "--task=dlf_translation", "--criterion=dlf"]
    which = [
        "--no-dev-bleu",
        "--teacher",
        made.teacher,
        "--progress-sentences=8",
        "--finetune-from-model",
        made.student,
    ]
    rate = ["--optimizer=sgd", "--lr=0.5", "--batch-size=16", f"--max-update={updates}"]
    return CommandLine("fairseq_cli.train", [*start, *which, *rate, "--save-dir", out])
