"""Every reader of a file of ours: how a good file is made, how it may be damaged, and how it is read."""

import gzip
import io
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from fairseq_dlf.images.command_line import main as images
from fairseq_dlf.images.data.splits import load_image_data
from fairseq_dlf.images.records.coefficients import read_coefficients
from tests.robustness import made
from tests.robustness.damage import BOMBS, BYTES, GZIP, JSON, ROWS, TENSORS, Damage, checkpoint
from tests.robustness.driver import contents_of, plain


class RefusedError(Exception):
    """A command ended with a message for its user."""


@dataclass(frozen=True)
class Reader:
    """A way from a file into the program.

    Attributes:
        name: of the reader.
        file: place of the file that is damaged, in the folder that `make` fills.
        make: fills a folder with good files; is also given the folder of `made.corpus`.
        read: reads them, and returns what was understood; raises our own errors, or `RefusedError`.
        damages: by kind.
        taken: kinds of damage that may go unnoticed, with the reason.
        also_named: what a message may name in place of the file.
    """

    name: str
    file: str
    make: Callable[[Path, Path], object]
    read: Callable[[Path], Any]
    damages: Mapping[str, Damage]
    taken: Mapping[str, str] = field(default_factory=dict)
    also_named: str = "\n"


def by_command(main: Callable[[Sequence[str]], int | None], *arguments: object) -> str:
    """Run a command in this process; return what it printed, or raise RefusedError with what it said."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as end:
            status = end.code
    if status:
        raise RefusedError(err.getvalue().strip().rpartition("\n")[2])
    return out.getvalue()


# Images: teachers, students, states, records ---------------------------------------

FEW = [*made.IMAGES, "--train-images", 20, "--progress-images", 10, "--batch-size", 20, "--epochs", 1]


def _taught(folder: Path, steps: int = 3) -> dict[str, Any]:
    by_command(images, "teach", *FEW, "--teacher-steps", steps, "--lr", 0.3, "--out", folder / "taught")
    return contents_of(folder / "taught")


def _teacher(folder: Path, corpus: Path) -> None:
    _taught(folder, 2)


def _trained(folder: Path, *options: object, out: str = "trained") -> dict[str, Any]:
    by_command(images, "train", *FEW, "--lr", 0.1, "--out", folder / out, *options)
    return contents_of(folder / out)


def _students(folder: Path, corpus: Path) -> None:
    _trained(folder)


def _interrupted_training(folder: Path, corpus: Path) -> None:
    _trained(folder)
    (folder / "trained/seed1/record.json").unlink()


def _table(folder: Path) -> str:
    return by_command(images, "table", folder / "trained")


def _unsealed(what: str, *kinds: str) -> dict[str, str]:
    """Kinds that may go unnoticed in a format without a checksum, where other bytes are other content."""
    return dict.fromkeys(kinds, f"other bytes are another {what}, and nothing says which was meant")


SEALED = {**BYTES, **TENSORS}
SAVED = {**BYTES, **checkpoint("model")}
# Written anew with a checksum to match: only what has a wrong type can be noticed.
SIGNED = _unsealed("header", "wrong value in the header", "missing field in the header", "unknown field in the header")
RESAVED = _unsealed("checkpoint", *(f"{kind} field, saved again" for kind in ("missing", "unknown")))
RESAVED = {**RESAVED, **_unsealed("checkpoint", "wrong value, saved again", "old format")}
# Students are trained in half precision, too.
OF_ANY_FLOATS = {**RESAVED, **_unsealed("checkpoint", "other floats, saved again")}
# A last line that a crash has torn is left out, and a log that is gone is an empty one: so may be a file of one line.
TORN = ("truncated", "empty", "hostile pickle", "hostile checkpoint", "foreign zip", "noise")
ROWS_BY_HAND = _unsealed("row", "wrong value of a row", "flipped", "zeroed", *TORN)
BY_HAND = _unsealed("record", "wrong value", "flipped", "zeroed")

IMAGES: tuple[Reader, ...] = (
    Reader(
        "teacher of images",
        "taught/teacher.safetensors",
        _teacher,
        lambda folder: _trained(folder, "--loss", "dlf", "--teacher", folder / "taught/teacher.safetensors"),
        SEALED,
        SIGNED,
    ),
    Reader(
        "student of images",
        "trained/seed1/best.safetensors",
        _students,
        lambda folder: _trained(folder, "--student", folder / "trained/seed1/best.safetensors", out="on"),
        SEALED,
        SIGNED,
    ),
    Reader(
        "state of training on images",
        "trained/seed1/last.pt",
        _interrupted_training,
        _trained,
        {**BYTES, **checkpoint("")},
        {**RESAVED, "not finite, saved again": "a run that has diverged keeps its state"},
    ),
    Reader(
        "state of teaching on images", "taught/last.pt", _teacher, _taught, {**BYTES, **checkpoint("teacher")}, RESAVED
    ),
    Reader("log of teaching", "taught/teaching.jsonl", _teacher, _taught, {**BYTES, **ROWS}, ROWS_BY_HAND),
    Reader("record of training", "trained/seed1/record.json", _students, _table, {**BYTES, **JSON}, BY_HAND),
    Reader(
        "coefficients along a run",
        "taught/coefficients.safetensors",
        _teacher,
        lambda folder: plain(vars(read_coefficients(folder / "taught/coefficients.safetensors"))),
        SEALED,
        SIGNED,
    ),
)

# Image data ------------------------------------------------------------------------


def _idx(values: np.ndarray) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return bytes([0, 0, 8, values.ndim]) + sizes + values.astype(np.uint8).tobytes()


def _mnist(folder: Path, corpus: Path, packed: bool = False) -> None:
    draw = np.random.default_rng(1)
    for prefix, count in (("train", 30), ("t10k", 10)):
        parts = {"images-idx3": draw.integers(256, size=(count, 6, 6)), "labels-idx1": draw.integers(10, size=count)}
        for part, values in parts.items():
            path = folder / f"{prefix}-{part}-ubyte"
            if packed:
                path.with_name(path.name + ".gz").write_bytes(gzip.compress(_idx(values)))
            else:
                path.write_bytes(_idx(values))


def _cifar(folder: Path, corpus: Path) -> None:
    draw = np.random.default_rng(1)
    for name in [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]:
        records = draw.integers(256, size=(4, 3073), dtype=np.uint8)
        records[:, 0] %= 10
        (folder / f"{name}.bin").write_bytes(records.tobytes())


def _folder_of_images(folder: Path, corpus: Path) -> None:
    from PIL import Image

    draw = np.random.default_rng(1)
    for split, count in (("train", 12), ("test", 3)):
        for label in ("cat", "dog"):
            (folder / split / label).mkdir(parents=True)
            for number in range(count):
                pixels = draw.integers(256, size=(6, 6, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / label / f"{number}.png")


def _data(kind: str) -> Callable[[Path], Any]:
    return lambda folder: load_image_data(f"{kind}:{folder}").fingerprint


PIXELS = _unsealed("image", "flipped", "zeroed")
DATA: tuple[Reader, ...] = (
    Reader("MNIST images", "train-images-idx3-ubyte", _mnist, _data("mnist"), BYTES, PIXELS),
    # Labels are looked at once the splits are made.
    Reader("MNIST labels", "t10k-labels-idx1-ubyte", _mnist, _data("mnist"), BYTES, PIXELS, "mnist:"),
    Reader(
        "packed MNIST images",
        "train-images-idx3-ubyte.gz",
        partial(_mnist, packed=True),
        _data("mnist"),
        {**BYTES, **GZIP, **BOMBS},
        _unsealed("image", "flipped inside", "zeroed inside"),
    ),
    Reader(
        "CIFAR-10",
        "data_batch_3.bin",
        _cifar,
        _data("cifar10"),
        BYTES,
        {**PIXELS, "doubled": "twice the images are a batch of images", "truncated": "fewer whole images are a batch"},
    ),
    Reader(
        "folder of images",
        "train/dog/3.png",
        _folder_of_images,
        _data("folder"),
        BYTES,
        {**PIXELS, "truncated": "Pillow checks what it needs of a PNG", "doubled": "Pillow stops at a PNG's end"},
    ),
)


# Translation: text, manifest, output -------------------------------------------------


def _fake_preprocess(command: Sequence[str], **options: Any) -> Any:
    """Stand in for fairseq-preprocess, which has tests of its own and takes seconds."""
    destination = Path(command[command.index("--destdir") + 1])
    destination.mkdir(parents=True)
    (destination / "dict.de.txt").write_text("x 1\n")
    return subprocess.CompletedProcess(command, 0, "", "")


def _prepared(folder: Path, *source: object) -> dict[str, Any]:
    from fairseq_dlf.translation.corpus.prepare import main

    with mock.patch.object(subprocess, "run", _fake_preprocess):
        by_command(main, *source, "--out", folder / "out", "--bpe-tokens", 20)
    return contents_of(folder / "out")


PAIRS = [(f"Das ist das Buch Nummer {number} , ja .", f"This is book number {number} , yes .") for number in range(60)]


def _raw(folder: Path, corpus: Path, packed: bool = False) -> None:
    folder = folder / "raw"
    folder.mkdir()
    for split in ("train", "valid", "test"):
        for side, language in enumerate(("de", "en")):
            content = "".join(f"{pair[side]}\n" for pair in PAIRS).encode()
            path = folder / f"{split}.{language}"
            if packed:
                path.with_name(path.name + ".gz").write_bytes(gzip.compress(content))
            else:
                path.write_bytes(content)


def _from_raw(folder: Path) -> dict[str, Any]:
    return _prepared(folder, "parallel", "--raw", folder / "raw", "--tokenized")


def _prepared_folder(folder: Path, corpus: Path) -> None:
    _raw(folder, corpus)
    _from_raw(folder)


def _archive(folder: Path, corpus: Path) -> None:
    sets = ("TED.dev2010", "TEDX.dev2012", "TED.tst2010", "TED.tst2011", "TED.tst2012")
    with tarfile.open(folder / "de-en.tgz", "w:gz") as tar:
        for side, language in enumerate(("de", "en")):
            segments = "\n".join(f'<seg id="{number}"> {pair[side]} </seg>' for number, pair in enumerate(PAIRS[:2]))
            files = {f"IWSLT14.{name}.de-en.{language}.xml": f"<doc>\n{segments}\n</doc>\n" for name in sets}
            files[f"train.tags.de-en.{language}"] = "".join(f"{pair[side]}\n" for pair in PAIRS)
            for name, text in files.items():
                member = tarfile.TarInfo(f"de-en/{name}")
                member.size = len(text.encode())
                tar.addfile(member, io.BytesIO(text.encode()))


def _generated(folder: Path, corpus: Path) -> None:
    references = [f"this is book number {number} ." for number in range(12)]
    (folder / "test.en").write_text("".join(f"{line}\n" for line in references))
    for name in ("warm", "taught"):
        lines = [f"T-{n}\t{line}\nH-{n}\t-0.5\t{line}\nD-{n}\t-0.5\t{line}" for n, line in enumerate(references)]
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")


def _compared(folder: Path) -> str:
    from fairseq_dlf.translation.tools.compare import main

    systems = ["--baseline", "warm", f"warm={folder / 'warm.txt'}", f"taught={folder / 'taught.txt'}"]
    printed = by_command(main, "--references", folder / "test.en", *systems, "--bootstrap", 20)
    return printed.replace(str(folder), "")


# Other text is another text: of texts only what breaks the count or the encoding can be noticed.
WORDS = _unsealed("text", "flipped", "truncated", "zeroed", "text", "noise", "doubled")
TEXT: tuple[Reader, ...] = (
    Reader("raw text", "raw/train.de", _raw, _from_raw, BYTES, WORDS),
    Reader(
        "packed text",
        "raw/valid.en.gz",
        partial(_raw, packed=True),
        _from_raw,
        {**BYTES, **GZIP, **BOMBS},
        {**WORDS, **_unsealed("text", *GZIP)},
    ),
    Reader(
        "archive of IWSLT14",
        "de-en.tgz",
        _archive,
        lambda folder: _prepared(folder, "iwslt14", "--archive", folder / "de-en.tgz"),
        {**BYTES, **GZIP, **BOMBS},
        _unsealed("text", *GZIP, "doubled"),
        "de-en/",  # a file in the archive
    ),
    Reader(
        "manifest of preparation",
        "out/prepare.json",
        _prepared_folder,
        _from_raw,
        {**BYTES, **JSON},
        _unsealed("manifest", *JSON, "flipped", "zeroed"),
        "/out",
    ),
    Reader("output of fairseq-generate", "taught.txt", _generated, _compared, BYTES, WORDS),
    Reader("references", "test.en", _generated, _compared, BYTES, WORDS),
)


# Translation: checkpoints ------------------------------------------------------------


def _task(corpus: Path) -> Any:
    """A translation task with the corpus's dictionaries."""
    from fairseq.data import Dictionary
    from fairseq.tasks.translation import TranslationConfig, TranslationTask

    sides = [Dictionary.load(str(corpus / f"data/bin/dict.{language}.txt")) for language in ("de", "en")]
    return TranslationTask(TranslationConfig(), *sides)


def _of_corpus(*names: str) -> Callable[[Path, Path], None]:
    """Copy files of the corpus, and keep the way to the rest."""

    def make(folder: Path, corpus: Path) -> None:
        for number, name in enumerate(names):
            shutil.copy(corpus / name, folder / f"{number}{Path(name).suffix}")
        (folder / "corpus").symlink_to(corpus)

    return make


def _loaded_student(folder: Path) -> Any:
    from fairseq_dlf.translation.episodes.checkpoints import StudentCheckpoint

    return plain(StudentCheckpoint(str(folder / "0.pt"), _task(folder / "corpus")).model.state_dict())


def _loaded_teacher(name: str) -> Callable[[Path], Any]:
    def read(folder: Path) -> Any:
        from fairseq_dlf.translation.teachers.files import read_teacher

        found = read_teacher(str(folder / name), _task(folder / "corpus").target_dictionary)
        return plain([found.teacher.state_dict(), repr(found.header)])

    return read


def _averaged(folder: Path) -> Any:
    from fairseq_dlf.translation.tools.average import main

    by_command(main, "--inputs", folder / "0.pt", folder / "1.pt", "--output", folder / "mean.pt")
    return plain(torch.load(folder / "mean.pt", weights_only=True)["model"])


STUDENT, TEACHER = "warm/checkpoint_last.pt", "teacher/checkpoint_last"
CHECKPOINTS: tuple[Reader, ...] = (
    Reader(
        "teacher",
        "0.safetensors",
        _of_corpus(f"{TEACHER}.safetensors"),
        _loaded_teacher("0.safetensors"),
        SEALED,
        SIGNED,
    ),
    Reader("checkpoint of a teacher", "0.pt", _of_corpus(f"{TEACHER}.pt"), _loaded_teacher("0.pt"), SAVED, RESAVED),
    Reader("student", "0.pt", _of_corpus(STUDENT), _loaded_student, SAVED, OF_ANY_FLOATS),
    Reader("input of dlf-average", "1.pt", _of_corpus(STUDENT, STUDENT), _averaged, SAVED, OF_ANY_FLOATS),
)
READERS: Mapping[str, Reader] = {reader.name: reader for reader in (*IMAGES, *DATA, *TEXT, *CHECKPOINTS)}
