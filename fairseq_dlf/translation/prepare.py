"""Prepare parallel text for fairseq: tokenise, clean, lower-case, learn a joint BPE, binarise.

The steps and the result are those of fairseq's ``prepare-iwslt14.sh``, with packages
from pip in place of cloned Perl: sacremoses tokenises, subword-nmt (or sentencepiece)
segments. Three front ends read a corpus, one core prepares it:

    dlf-prepare iwslt14   --archive de-en.tgz --out DIR
    dlf-prepare multi30k  --raw DIR --out DIR
    dlf-prepare parallel  --raw DIR --out DIR [--tokenized]

OUT then holds ``bin/`` (for fairseq-train), ``bpe.SPLIT.LANG``, ``tokenized/``, the BPE
model, ``raw/{valid,test}.TARGET`` (untokenised references for sacreBLEU) and
``prepare.json``, which says how it was made and which steps are finished.
"""

import argparse
import errno
import gzip
import hashlib
import io
import json
import os
import posixpath
import re
import shutil
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import Pool
from pathlib import Path
from typing import NamedTuple

from sacremoses import MosesDetokenizer, MosesTokenizer
from tqdm import tqdm

SPLITS = ("train", "valid", "test")
BPE_MODELS = {"subword_nmt": "code", "sentencepiece": "sentencepiece.model"}
MAX_BPE_TOKENS = 100_000
MAX_WORD_LENGTH = 1000  # characters; clean-corpus-n.perl's own limit
MANIFEST = "prepare.json"
PART = ".part"

MULTI30K_NAMES = {"train": "train", "valid": "val", "test": "test_2016_flickr"}
PARALLEL_NAMES = {split: split for split in SPLITS}
IWSLT14_TEST_SETS = ("TED.dev2010", "TEDX.dev2012", "TED.tst2010", "TED.tst2011", "TED.tst2012")
IWSLT14_VALID_EVERY = 23
IWSLT14_LINES = {"train": 160_239, "valid": 7_283, "test": 6_750}  # of the recipe with the original Perl
IWSLT14_DROPPED = re.compile(r"<(url|talkid|keywords|speaker|reviewer|translator)\b")
IWSLT14_STRIPPED = re.compile(r"</?(title|description)>")
IWSLT14_SEGMENT = re.compile(r'<seg id="[0-9]*">\s*|\s*</seg>\s*')


class PrepareError(ValueError):
    """A mistake in the input or the options; its text is the one line that the user sees."""


class ParallelText(NamedTuple):
    """Aligned lines of the two languages, as read: same length, no line ends."""

    source: list[str]
    target: list[str]


class Pair(NamedTuple):
    """One prepared sentence pair: tokens joined by spaces, and the target as it is scored against."""

    source: str
    target: str
    reference: str


class Corpus(NamedTuple):
    """What a front end reads: text by split; without "valid", every n-th clean train pair becomes it."""

    text: dict[str, ParallelText]
    valid_every: int | None = None


@dataclass(frozen=True)
class Options:
    """All that changes the result; kept in the manifest and compared on the next run.

    Attributes:
        corpus: the front end's name.
        source, target: language codes, as in the file names.
        bpe: a key of ``BPE_MODELS``.
        bpe_tokens: merge operations (subword_nmt) or pieces (sentencepiece).
        tokenized: whether the input is Moses-tokenised already.
        max_length: longest train sentence kept, in tokens.
        max_ratio: largest ratio of the two lengths of a train pair kept.
        inputs: sha256 of every file read, by file name.
    """

    corpus: str
    source: str
    target: str
    bpe: str
    bpe_tokens: int
    tokenized: bool
    max_length: int
    max_ratio: float
    inputs: dict[str, str]

    @property
    def languages(self) -> tuple[str, str]:
        return self.source, self.target

    @property
    def text_files(self) -> list[str]:
        return [f"{split}.{language}" for split in SPLITS for language in self.languages]


# ---------------------------------------------------------------- reading


def decode_lines(content: bytes, name: str) -> list[str]:
    """Split UTF-8 text at line feeds only, so that no odd Unicode separator shifts the alignment."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as err:
        raise PrepareError(f"{name} is not UTF-8 (byte {err.start:,}): convert it to UTF-8") from None
    return [line.rstrip("\n") for line in io.StringIO(text, newline="\n")]


def aligned(lines: list[list[str]], names: list[str]) -> ParallelText:
    """Pair two files' lines. Raises: PrepareError if their counts differ."""
    counts = [len(one) for one in lines]
    if counts[0] != counts[1]:
        raise PrepareError(
            f"{names[0]} has {counts[0]:,} lines, {names[1]} has {counts[1]:,}: both must have the same "
            "number, line by line each other's translation; fetch or align the files again"
        )
    return ParallelText(*lines)


def find_raw(raw: Path, stem: str, language: str) -> Path:
    """The plain file if it is there, else the gzip one."""
    plain = raw / f"{stem}.{language}"
    for path in (plain, Path(f"{plain}.gz")):
        if path.is_file():
            return path
    raise PrepareError(
        f"{raw} has no {plain.name} or {plain.name}.gz: pass the --raw folder that holds every split"
    )


def read_text(path: Path) -> list[str]:
    """Lines of a plain or gzip text file."""
    try:
        content = path.read_bytes()
        return decode_lines(gzip.decompress(content) if path.suffix == ".gz" else content, path.name)
    except (gzip.BadGzipFile, EOFError, zlib.error) as err:
        raise PrepareError(f"{path} is corrupt ({err}): fetch it again") from None


def read_raw(files: dict[tuple[str, str], Path], languages: tuple[str, str]) -> Corpus:
    """Read pre-split text; ``files`` is keyed by (split, language)."""
    text = {}
    for split in SPLITS:
        paths = [files[split, language] for language in languages]
        text[split] = aligned([read_text(path) for path in paths], [path.name for path in paths])
    return Corpus(text)


def iwslt14_members(pair: str, languages: tuple[str, str]) -> dict[tuple[str, str], str]:
    """Names inside the archive by (set, language), in the order of the recipe."""
    members = {("train", language): f"{pair}/train.tags.{pair}.{language}" for language in languages}
    for name in IWSLT14_TEST_SETS:
        members |= {
            (name, language): f"{pair}/IWSLT14.{name}.{pair}.{language}.xml" for language in languages
        }
    return members


def read_members(archive: Path, wanted: set[str]) -> dict[str, bytes]:
    """Read the wanted members into memory; nothing is extracted to disk.

    Raises: PrepareError for what is not a whole gzip tar, or names a path outside itself.
    """
    contents = {}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                name = posixpath.normpath(member.name)
                if name.startswith(("/", "..")):
                    raise PrepareError(
                        f"{archive} has a member outside its folder ({member.name}): this is not the IWSLT14 "
                        "archive; fetch it again from a source that you trust"
                    )
                if name in wanted and member.isfile():
                    contents[name] = tar.extractfile(member).read()
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as err:
        raise PrepareError(
            f"{archive} is not a whole gzip tar archive ({err}): delete it and fetch it again"
        ) from None
    return contents


def read_iwslt14(archive: Path, languages: tuple[str, str]) -> Corpus:
    """Read train and the five test sets as fairseq's recipe does; valid is carved from train later."""
    orders = [iwslt14_members("-".join(order), languages) for order in (languages, languages[::-1])]
    contents = read_members(archive, {name for order in orders for name in order.values()})
    members = max(orders, key=lambda order: sum(name in contents for name in order.values()))
    missing = [name for name in members.values() if name not in contents]
    if missing:
        raise PrepareError(
            f"{archive} lacks {', '.join(missing)}: pass the de-en.tgz of IWSLT14 with its layout unchanged"
        )
    lines = {key: decode_lines(contents[name], name) for key, name in members.items()}
    train = aligned(
        [train_lines(lines["train", language]) for language in languages],
        [members["train", language] for language in languages],
    )
    test = ParallelText([], [])
    for name in IWSLT14_TEST_SETS:
        one = aligned(
            [segment_lines(lines[name, language]) for language in languages],
            [members[name, language] for language in languages],
        )
        test = ParallelText(test.source + one.source, test.target + one.target)
    return Corpus({"train": train, "test": test}, IWSLT14_VALID_EVERY)


def train_lines(lines: list[str]) -> list[str]:
    """Train text of the IWSLT14 mark-up: drop the lines about a talk, keep titles and descriptions."""
    return [IWSLT14_STRIPPED.sub("", line).strip() for line in lines if not IWSLT14_DROPPED.search(line)]


def segment_lines(lines: list[str]) -> list[str]:
    """Test text of the IWSLT14 XML, one line a segment."""
    return [IWSLT14_SEGMENT.sub("", line).replace("’", "'").strip() for line in lines if "<seg id" in line]


# ---------------------------------------------------------------- tokens


def map_chunks(
    work: Callable[[list[str]], list[str]], lines: list[str], workers: int, label: str, size: int = 10_000
) -> list[str]:
    """Apply ``work`` to lines in chunks, in order, with a progress bar; ``workers`` processes."""
    chunks = [lines[start : start + size] for start in range(0, len(lines), size)]
    done: list[str] = []
    with tqdm(total=len(lines), desc=label, unit=" lines", disable=None) as bar:
        if workers == 1:
            for chunk in chunks:
                done += work(chunk)
                bar.update(len(chunk))
            return done
        with Pool(workers) as pool:
            for chunk in pool.imap(work, chunks):
                done += chunk
                bar.update(len(chunk))
    return done


def tokenise(language: str, lines: list[str]) -> list[str]:
    """Moses tokens joined by spaces, special characters escaped as the Perl does."""
    tokenizer = MosesTokenizer(language)
    return [tokenizer.tokenize(line.strip(), return_str=True) for line in lines]


def detokenise(language: str, lines: list[str]) -> list[str]:
    """The text that Moses tokens came from, entities resolved."""
    detokenizer = MosesDetokenizer(language)
    return [detokenizer.detokenize(line.split()) for line in lines]


def to_pairs(text: ParallelText, options: Options, workers: int, label: str) -> list[Pair]:
    """Tokenise and lower-case both sides, and keep the target's plain text as the reference."""
    if options.tokenized:
        source, target = ([" ".join(line.split()) for line in side] for side in text)
        references = map_chunks(partial(detokenise, options.target), target, workers, label)
    else:
        source, target = (
            map_chunks(partial(tokenise, language), side, workers, f"{label}.{language}")
            for side, language in zip(text, options.languages, strict=True)
        )
        references = [line.strip() for line in text.target]
    return [Pair(*(line.lower() for line in lines)) for lines in zip(source, target, references, strict=True)]


def is_clean(pair: Pair, max_length: int, max_ratio: float) -> bool:
    """Whether Moses' clean-corpus-n (minimum 1) would keep the pair."""
    words = pair.source.split(), pair.target.split()
    shorter, longer = sorted(len(side) for side in words)
    if shorter < 1 or longer > max_length or longer / shorter > max_ratio:
        return False
    return all(len(word) <= MAX_WORD_LENGTH for side in words for word in side)


def split_pairs(corpus: Corpus, options: Options, workers: int) -> tuple[dict[str, list[Pair]], int]:
    """Prepare every split.

    Returns: the pairs by split, and how many train pairs the cleaning dropped.
    Raises: PrepareError if a split ends up empty.
    """
    pairs = {split: to_pairs(text, options, workers, split) for split, text in corpus.text.items()}
    clean = [pair for pair in pairs["train"] if is_clean(pair, options.max_length, options.max_ratio)]
    dropped = len(pairs["train"]) - len(clean)
    pairs["train"] = clean
    every = corpus.valid_every
    if every is not None:
        pairs["valid"] = clean[every - 1 :: every]
        pairs["train"] = [pair for number, pair in enumerate(clean, 1) if number % every != 0]
    for split in SPLITS:
        if not pairs[split]:
            carved = every is not None and split == "valid"
            origin = f" (one in {every} of the {len(clean)} clean train pairs)" if carved else ""
            raise PrepareError(
                f"the {split} split is empty{origin}, {dropped:,} train pairs were dropped by --max-length "
                "and --max-ratio: every split needs at least one pair"
            )
    return pairs, dropped


# ---------------------------------------------------------------- subwords


def learn_bpe(lines: Iterable[str], options: Options, model: Path) -> None:
    """Learn a joint BPE and write it to ``model``. Raises: PrepareError if the text cannot give it."""
    learn = learn_subword_nmt if options.bpe == "subword_nmt" else learn_sentencepiece
    try:
        learn(lines, options.bpe_tokens, model)
    except (ValueError, RuntimeError) as err:  # how the two packages refuse a text or a size
        reason = " ".join(str(err).split())
        raise PrepareError(
            f"{options.bpe} cannot learn --bpe-tokens {options.bpe_tokens:,} from this train split "
            f"({reason}): pass another --bpe-tokens or more text"
        ) from None


def learn_subword_nmt(lines: Iterable[str], merges: int, model: Path) -> None:
    """``subword-nmt learn-bpe -s merges``."""
    from subword_nmt.learn_bpe import learn_bpe as learn

    # Its progress bar does not ask whether anyone is looking.
    terminal = sys.stderr if sys.stderr.isatty() else io.StringIO()
    with open(model, "w", encoding="utf-8", newline="\n") as file, redirect_stderr(terminal):
        learn(lines, file, merges)


def learn_sentencepiece(lines: Iterable[str], pieces: int, model: Path) -> None:
    """BPE by sentencepiece with the text left as it is (no Unicode normalisation)."""
    from sentencepiece import SentencePieceTrainer

    content = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=content,
        vocab_size=pieces,
        model_type="bpe",
        character_coverage=1.0,
        normalization_rule_name="identity",
        max_sentence_length=1_000_000,
        minloglevel=2,
    )
    with open(model, "wb") as file:
        file.write(content.getvalue())


def segment(bpe: str, model: Path, lines: list[str]) -> list[str]:
    """Split tokenised lines into subwords."""
    if bpe == "subword_nmt":
        from subword_nmt.apply_bpe import BPE

        with open(model, encoding="utf-8") as codes:
            splitter = BPE(codes)
        return [splitter.process_line(line) for line in lines]
    from sentencepiece import SentencePieceProcessor

    pieces = SentencePieceProcessor(model_file=str(model)).encode(lines, out_type=str)
    return [" ".join(line) for line in pieces]


# ---------------------------------------------------------------- files and steps


def read_lines(path: Path) -> list[str]:
    """Lines of a file that this program wrote."""
    return decode_lines(path.read_bytes(), path.name)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write UTF-8 lines with line feeds on every system."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)


def remove(path: Path) -> None:
    """Remove a file or a folder; nothing happens where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


class Workspace:
    """The --out folder: finished steps are kept, a failed one leaves nothing behind.

    A step writes into OUT/.part; its files are renamed into place, and only then is it
    entered in the manifest. Whatever stops it between, the next run repeats it.
    """

    def __init__(self, out: Path, options: Options, overwrite: bool = False) -> None:
        self.out = out
        self.options = options
        self.outputs = {
            "tokenise": [f"tokenized/{name}" for name in options.text_files]
            + [f"raw/{split}.{options.target}" for split in ("valid", "test")],
            "learn": [BPE_MODELS[options.bpe]],
            "segment": [f"bpe.{name}" for name in options.text_files],
            "binarise": ["bin"],
        }
        out.mkdir(parents=True, exist_ok=True)
        remove(out / PART)
        self.record = self._open(overwrite)

    def _open(self, overwrite: bool) -> dict:
        """The record to go on from: the manifest's, or a new one once nothing of another run is in the way."""
        manifest = self.out / MANIFEST
        options = json.loads(json.dumps(asdict(self.options)))
        if manifest.exists() and not overwrite:
            record = self._read(manifest)
            if record["options"] == options:
                return record
            if record["finished"]:
                self._refuse(record["options"], options)
        elif not manifest.exists() and any(self.out.iterdir()):
            raise PrepareError(
                f"{self.out} is not empty and has no {MANIFEST}, so its files are not from dlf-prepare: "
                "pass an --out that is new or empty"
            )
        record = {"options": options, "finished": {}}
        self._save(record)
        self._clear()
        return record

    @staticmethod
    def _read(manifest: Path) -> dict:
        try:
            record = json.loads(manifest.read_text(encoding="utf-8"))
            return {"options": dict(record["options"]), "finished": dict(record["finished"])}
        except (ValueError, KeyError, TypeError):
            raise PrepareError(f"{manifest} cannot be read: pass --overwrite to prepare again") from None

    def _refuse(self, before: dict, now: dict) -> None:
        names = [name for name in now if before.get(name) != now[name] and name != "inputs"]
        changes = [f"{name} was {before.get(name)}, is now {now[name]}" for name in names]
        reason = ", ".join(changes) or "the input files have changed"
        raise PrepareError(
            f"{self.out} was prepared with other options ({reason}): pass another --out, "
            "or --overwrite to replace it"
        )

    def _save(self, record: dict) -> None:
        part = self.out / f"{MANIFEST}{PART}"
        try:
            write_lines(part, [json.dumps(record, indent=2)])
            os.replace(part, self.out / MANIFEST)
        finally:
            remove(part)

    def _clear(self) -> None:
        for name in ("tokenized", "raw", "bin", *BPE_MODELS.values()):
            remove(self.out / name)
        for split in SPLITS:
            for path in self.out.glob(f"bpe.{split}.*"):
                remove(path)

    def is_finished(self, step: str) -> bool:
        """Whether the manifest has the step and its files are still there."""
        return step in self.record["finished"] and all(
            (self.out / name).exists() for name in self.outputs[step]
        )

    def run(self, step: str, title: str, work: Callable[[Path], dict]) -> None:
        """Run one step unless it is finished.

        Args:
            step: a key of ``outputs``.
            title: what the progress line says.
            work: writes the step's outputs under the folder it is given; returns facts for the manifest.
        """
        earlier = list(self.outputs)[: list(self.outputs).index(step)]
        number = f"[{len(earlier) + 1}/{len(self.outputs)}]"
        if self.is_finished(step):
            say(f"{number} {title}: done before")
            return
        say(f"{number} {title}")
        part = self.out / PART
        try:
            part.mkdir()
            facts = work(part)
            for name in self.outputs[step]:
                place = self.out / name
                place.parent.mkdir(exist_ok=True)
                remove(place)
                os.replace(part / name, place)
        finally:
            remove(part)
        # Only the steps before this one still fit what it wrote.
        finished = {name: self.record["finished"][name] for name in earlier} | {step: facts}
        self.record = self.record | {"finished": finished}
        self._save(self.record)


def prepare(
    options: Options, read: Callable[[], Corpus], out: Path, workers: int = 1, overwrite: bool = False
) -> None:
    """Run every step that is not finished. Raises: PrepareError, OSError."""
    workspace = Workspace(out, options, overwrite)
    model = out / BPE_MODELS[options.bpe]

    def write_text(part: Path) -> dict:
        pairs, dropped = split_pairs(read(), options, workers)
        for split in SPLITS:
            write_lines(part / f"tokenized/{split}.{options.source}", (pair.source for pair in pairs[split]))
            write_lines(part / f"tokenized/{split}.{options.target}", (pair.target for pair in pairs[split]))
            if split != "train":
                write_lines(part / f"raw/{split}.{options.target}", (pair.reference for pair in pairs[split]))
        return {"dropped_pairs": dropped}

    def write_model(part: Path) -> dict:
        train = [
            line for language in options.languages for line in read_lines(out / f"tokenized/train.{language}")
        ]
        learn_bpe(train, options, part / model.name)
        return {}

    def write_subwords(part: Path) -> dict:
        work = partial(segment, options.bpe, model)
        for name in options.text_files:
            write_lines(
                part / f"bpe.{name}", map_chunks(work, read_lines(out / f"tokenized/{name}"), workers, name)
            )
        return {}

    def write_bin(part: Path) -> dict:
        binarise(out, part / "bin", options.languages, workers)
        return {}

    wanted = {
        "tokenise": ("tokenise, clean, lower-case and split", write_text),
        "learn": (f"learn a joint BPE of {options.bpe_tokens:,} by {options.bpe}", write_model),
        "segment": ("apply the BPE", write_subwords),
        "binarise": ("fairseq-preprocess", write_bin),
    }
    for step, (title, work) in wanted.items():
        workspace.run(step, title, work)
    dropped = workspace.record["finished"]["tokenise"]["dropped_pairs"]
    say(f"dropped {dropped:,} train pairs over length {options.max_length} or ratio {options.max_ratio:g}")


def binarise(out: Path, destination: Path, languages: tuple[str, str], workers: int) -> None:
    """Run fairseq-preprocess on OUT/bpe.*."""
    command = [sys.executable, "-m", "fairseq_cli.preprocess", "--workers", str(workers)]
    command += ["--source-lang", languages[0], "--target-lang", languages[1], "--destdir", str(destination)]
    for option, split in zip(("--trainpref", "--validpref", "--testpref"), SPLITS, strict=True):
        command += [option, str(out / f"bpe.{split}")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
        raise PrepareError(f"fairseq-preprocess failed with status {done.returncode}: {last}")


# ---------------------------------------------------------------- report


def table(out: Path, languages: tuple[str, str]) -> tuple[str, dict[str, int]]:
    """Counts of every split. Returns: the table as text, and the lines by split."""
    header = ["split", "lines"] + [
        f"{language} {unit}" for language in languages for unit in ("words", "subwords")
    ]
    rows, lines = [header], {}
    for split in SPLITS:
        counts = []
        for language in languages:
            for name in (f"tokenized/{split}.{language}", f"bpe.{split}.{language}"):
                text = read_lines(out / name)
                lines[split] = len(text)
                counts.append(sum(len(line.split(" ")) for line in text if line))
        rows.append([split] + [f"{count:,}" for count in (lines[split], *counts)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    text = "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows
    )
    return text, lines


def compare_iwslt14(lines: dict[str, int]) -> list[str]:
    """One note for every split whose size is not that of the recipe with the original Perl."""
    return [
        f"note: {split} has {lines[split]:,} lines, fairseq's recipe with the original Perl {wanted:,}: a few "
        "can come from the tokeniser, many mean another archive or other options"
        for split, wanted in IWSLT14_LINES.items()
        if lines[split] != wanted
    ]


def say(line: str) -> None:
    """A line of progress."""
    print(line, file=sys.stderr, flush=True)


# ---------------------------------------------------------------- command line


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is a PrepareError, so that every error is one line."""

    def error(self, message: str) -> None:
        raise PrepareError(f"{message} (see {self.prog} --help)")


def build_parser() -> Parser:
    """The command line; the defaults of a front end stand in its own line."""
    parser = Parser(
        prog="dlf-prepare", description="Prepare parallel text for fairseq, as its IWSLT14 recipe does."
    )
    commands = parser.add_subparsers(dest="corpus", required=True, metavar="{iwslt14,multi30k,parallel}")
    iwslt14 = commands.add_parser("iwslt14", help="IWSLT14 TED talks from de-en.tgz")
    iwslt14.add_argument(
        "--archive", type=Path, required=True, metavar="FILE", help="de-en.tgz, as fairseq has it"
    )
    iwslt14.add_argument("--sha256", metavar="HEX", help="refuse an archive with another checksum")
    multi30k = commands.add_parser("multi30k", help="Multi30k: train, val, test_2016_flickr")
    parallel = commands.add_parser("parallel", help="text that is split already: train, valid, test")
    parallel.add_argument(
        "--tokenized", action="store_true", help="the input is Moses-tokenised: only lower-case it"
    )
    for command in (multi30k, parallel):
        command.add_argument(
            "--raw", type=Path, required=True, metavar="DIR", help="folder of SPLIT.LANG or .gz"
        )
    for command, bpe_tokens, ratio in (
        (iwslt14, 25_000, 1.5),
        (multi30k, 4_000, 9.0),
        (parallel, 4_000, 9.0),
    ):
        add_common(command, bpe_tokens, ratio)
    return parser


def add_common(command: argparse.ArgumentParser, bpe_tokens: int, max_ratio: float) -> None:
    """Options that every front end has."""
    command.formatter_class = argparse.ArgumentDefaultsHelpFormatter
    add = command.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="new or empty folder, or one to go on with")
    add("--source-lang", default="de", metavar="LANG", help="language to translate from")
    add("--target-lang", default="en", metavar="LANG", help="language to translate into")
    add("--bpe", choices=list(BPE_MODELS), default="subword_nmt", help="package that learns the subwords")
    add(
        "--bpe-tokens",
        type=int,
        default=bpe_tokens,
        metavar="N",
        help="merges (subword_nmt), pieces (sentencepiece)",
    )
    add(
        "--max-length",
        type=int,
        default=175,
        metavar="N",
        help="drop train pairs with a longer side, in tokens",
    )
    add(
        "--max-ratio",
        type=float,
        default=max_ratio,
        metavar="R",
        help="drop train pairs of a larger length ratio",
    )
    add("--workers", type=int, default=1, metavar="N", help="processes; the result does not depend on them")
    add("--overwrite", action="store_true", help="replace what another run of dlf-prepare left in --out")


def check_arguments(arguments: argparse.Namespace) -> None:
    """Raises: PrepareError for a value out of range."""
    ranges = {
        "bpe-tokens": (arguments.bpe_tokens, 1, MAX_BPE_TOKENS),
        "max-length": (arguments.max_length, 1, 1_000_000),
        "max-ratio": (arguments.max_ratio, 1, 1_000_000),
        "workers": (arguments.workers, 1, 1_024),
    }
    for name, (value, low, high) in ranges.items():
        if not low <= value <= high:
            raise PrepareError(f"--{name} is {value}, wanted {low:,} to {high:,}: pass a value in that range")
    languages = arguments.source_lang, arguments.target_lang
    if languages[0] == languages[1]:
        raise PrepareError(f"--source-lang and --target-lang are both {languages[0]}: pass two languages")
    for language in languages:
        if not re.fullmatch(r"[A-Za-z][A-Za-z_-]*", language):
            raise PrepareError(f"language {language!r} is not a code such as de or en: pass one")


def sha256_of(path: Path) -> str:
    """Checksum of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def open_corpus(arguments: argparse.Namespace) -> tuple[dict[str, str], Callable[[], Corpus]]:
    """Find the input of the chosen front end.

    Returns: sha256 by file name, and a function that reads the corpus.
    Raises: PrepareError if a file is missing or is not the one asked for.
    """
    languages = arguments.source_lang, arguments.target_lang
    if arguments.corpus == "iwslt14":
        archive = arguments.archive
        if not archive.is_file():
            raise PrepareError(
                f"there is no archive {archive}: pass --archive de-en.tgz, or run prepare-iwslt14.sh"
            )
        checksum = sha256_of(archive)
        if arguments.sha256 is not None and checksum != arguments.sha256.lower():
            raise PrepareError(
                f"{archive} has sha256 {checksum}, wanted {arguments.sha256}: delete it and fetch it again"
            )
        return {archive.name: checksum}, partial(read_iwslt14, archive, languages)
    if not arguments.raw.is_dir():
        raise PrepareError(f"there is no folder {arguments.raw}: pass --raw the folder that holds the text")
    names = MULTI30K_NAMES if arguments.corpus == "multi30k" else PARALLEL_NAMES
    files = {
        (split, lang): find_raw(arguments.raw, names[split], lang) for split in SPLITS for lang in languages
    }
    return {path.name: sha256_of(path) for path in files.values()}, partial(read_raw, files, languages)


def run(arguments: argparse.Namespace) -> None:
    """Prepare, then print the table."""
    check_arguments(arguments)
    inputs, read = open_corpus(arguments)
    options = Options(
        corpus=arguments.corpus,
        source=arguments.source_lang,
        target=arguments.target_lang,
        bpe=arguments.bpe,
        bpe_tokens=arguments.bpe_tokens,
        tokenized=getattr(arguments, "tokenized", False),
        max_length=arguments.max_length,
        max_ratio=arguments.max_ratio,
        inputs=inputs,
    )
    prepare(options, read, arguments.out, arguments.workers, arguments.overwrite)
    text, lines = table(arguments.out, options.languages)
    print(text)
    if options.corpus == "iwslt14":
        for note in compare_iwslt14(lines):
            print(note)
    print(f"train with: fairseq-train {arguments.out / 'bin'}")


def main(argv: list[str] | None = None) -> int:
    """Returns: the exit status."""
    try:
        run(build_parser().parse_args(argv))
    except PrepareError as err:
        line = str(err)
    except OSError as err:
        place = f" ({err.filename})" if err.filename else ""
        line = f"{err.strerror or err}{place}"
        if err.errno == errno.ENOSPC:
            line = f"the disk is full{place}: free some space and run the same command again, it goes on"
    except KeyboardInterrupt:
        say("dlf-prepare: interrupted; run the same command again, it goes on")
        return 130
    else:
        return 0
    say(f"dlf-prepare: error: {line}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
