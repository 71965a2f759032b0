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
import hashlib
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from fairseq_dlf.translation.corpus.corpora import (
    IWSLT14_LINES,
    MULTI30K_NAMES,
    PARALLEL_NAMES,
    SPLITS,
    Corpus,
    PrepareError,
    find_raw,
    read_iwslt14,
    read_raw,
)
from fairseq_dlf.translation.corpus.subwords import BPE_MODELS, MAX_BPE_TOKENS, learn_bpe, segment
from fairseq_dlf.translation.corpus.tokens import Options, map_chunks, split_pairs
from fairseq_dlf.translation.corpus.workspace import Workspace, read_lines, say, write_lines


def prepare(options: Options, read: Callable[[], Corpus], out: Path, workers: int = 1, overwrite: bool = False) -> None:
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
        train = [line for language in options.languages for line in read_lines(out / f"tokenized/train.{language}")]
        learn_bpe(train, options, part / model.name)
        return {}

    def write_subwords(part: Path) -> dict:
        work = partial(segment, options.bpe, model)
        for name in options.text_files:
            write_lines(part / f"bpe.{name}", map_chunks(work, read_lines(out / f"tokenized/{name}"), workers, name))
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
    header = ["split", "lines"] + [f"{language} {unit}" for language in languages for unit in ("words", "subwords")]
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
    text = "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return text, lines


def compare_iwslt14(lines: dict[str, int]) -> list[str]:
    """One note for every split whose size is not that of the recipe with the original Perl."""
    return [
        f"note: {split} has {lines[split]:,} lines, fairseq's recipe with the original Perl {wanted:,}: a few "
        "can come from the tokeniser, many mean another archive or other options"
        for split, wanted in IWSLT14_LINES.items()
        if lines[split] != wanted
    ]


# ---------------------------------------------------------------- command line


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is a PrepareError, so that every error is one line."""

    def error(self, message: str) -> None:
        raise PrepareError(f"{message} (see {self.prog} --help)")


def build_parser() -> Parser:
    """The command line; the defaults of a front end stand in its own line."""
    parser = Parser(prog="dlf-prepare", description="Prepare parallel text for fairseq, as its IWSLT14 recipe does.")
    commands = parser.add_subparsers(dest="corpus", required=True, metavar="{iwslt14,multi30k,parallel}")
    iwslt14 = commands.add_parser("iwslt14", help="IWSLT14 TED talks from de-en.tgz")
    iwslt14.add_argument("--archive", type=Path, required=True, metavar="FILE", help="de-en.tgz, as fairseq has it")
    iwslt14.add_argument("--sha256", metavar="HEX", help="refuse an archive with another checksum")
    multi30k = commands.add_parser("multi30k", help="Multi30k: train, val, test_2016_flickr")
    parallel = commands.add_parser("parallel", help="text that is split already: train, valid, test")
    parallel.add_argument("--tokenized", action="store_true", help="the input is Moses-tokenised: only lower-case it")
    for command in (multi30k, parallel):
        command.add_argument("--raw", type=Path, required=True, metavar="DIR", help="folder of SPLIT.LANG or .gz")
    for command, bpe_tokens, ratio in ((iwslt14, 25_000, 1.5), (multi30k, 4_000, 9.0), (parallel, 4_000, 9.0)):
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
    add("--bpe-tokens", type=int, default=bpe_tokens, metavar="N", help="merges (subword_nmt), pieces (sentencepiece)")
    add("--max-length", type=int, default=175, metavar="N", help="drop train pairs with a longer side, in tokens")
    add("--max-ratio", type=float, default=max_ratio, metavar="R", help="drop train pairs of a larger length ratio")
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
            raise PrepareError(f"there is no archive {archive}: pass --archive de-en.tgz, or run prepare-iwslt14.sh")
        checksum = sha256_of(archive)
        if arguments.sha256 is not None and checksum != arguments.sha256.lower():
            raise PrepareError(
                f"{archive} has sha256 {checksum}, wanted {arguments.sha256}: delete it and fetch it again"
            )
        return {archive.name: checksum}, partial(read_iwslt14, archive, languages)
    if not arguments.raw.is_dir():
        raise PrepareError(f"there is no folder {arguments.raw}: pass --raw the folder that holds the text")
    names = MULTI30K_NAMES if arguments.corpus == "multi30k" else PARALLEL_NAMES
    files = {(split, lang): find_raw(arguments.raw, names[split], lang) for split in SPLITS for lang in languages}
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
