"""`fairseq-train` in this process, on a data-bin of a dozen sentence pairs: a run takes a second."""

import logging
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from fairseq import checkpoint_utils, options
from fairseq.data import Dictionary, indexed_dataset
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq_cli.train import main

import fairseq_dlf.translation.plugins  # noqa: F401
from benchmarks.sentences import made_dictionary
from fairseq_dlf.translation.hooks import run_start

TYPES = 14
SIZES = [f"--{side}-{name}=6" for side in ("encoder", "decoder") for name in ("embed-dim", "hidden-size")]
STUDENT = ["--arch=lstm", *SIZES, "--decoder-out-embed-dim=6", "--dropout=0.3", "--optimizer=sgd", "--lr=0.5"]
SHORT = [
    "--batch-size=4",
    "--required-batch-size-multiple=1",
    "--num-workers=0",
    "--log-format=none",
    "--cpu",
    "--seed=3",
]
TEACHING = ["--task=dlf_teaching", "--arch=dlf_teacher", "--criterion=dlf_teaching", "--student-steps=2"]
TEACHING += ["--measure-sentences=2", "--greedy-sentences=2", "--progress-sentences=2", "--candidates=2"]
TEACHING += ["--episodes-per-epoch=2", "--optimizer=adam", "--lr=0.05"]


def dictionary() -> Dictionary:
    return made_dictionary(TYPES)


def make_data_bin(folder: Path, train: int = 16, valid: int = 4) -> Path:
    """Random sentences of 2 or 3 words, so that many are of one length."""
    folder.mkdir(parents=True, exist_ok=True)
    draw, words = np.random.RandomState(5), dictionary()
    for language in ("de", "en"):
        words.save(str(folder / f"dict.{language}.txt"))
        for split, number in (("train", train), ("valid", valid)):
            path = str(folder / f"{split}.de-en.{language}")
            builder = indexed_dataset.make_builder(f"{path}.bin", impl="mmap", vocab_size=len(words))
            for _ in range(number):
                sentence = draw.randint(words.nspecial, len(words), size=draw.randint(2, 4))
                builder.add_item(torch.tensor([*sentence, words.eos()]))
            builder.finalize(f"{path}.idx")
    return folder


def train(data: Path, save_dir: Path, *arguments: str) -> None:
    """Run `fairseq-train` here; what it raises comes through, and the lock of its folder is given back."""
    if hasattr(checkpoint_utils.save_checkpoint, "best"):
        del checkpoint_utils.save_checkpoint.best
    given = [str(data), *SHORT, f"--save-dir={save_dir}", *map(str, arguments)]
    cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), given))
    try:
        with _restored_logging():
            main(cfg)
    finally:
        run_start._folder.close()


@contextmanager
def _restored_logging():
    level = logging.root.level
    try:
        yield
    finally:
        logging.root.setLevel(level)


def parameters(checkpoint: Path) -> dict[str, torch.Tensor]:
    return torch.load(checkpoint, weights_only=True)["model"]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, but for the lock."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != "lock"}
