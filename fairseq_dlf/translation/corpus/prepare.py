"""Prepare parallel text for fairseq: tokenise, clean, lower-case, learn a joint BPE, binarise.

The steps and the result are those of fairseq's `prepare-iwslt14.sh`, with packages
from pip in place of cloned Perl: sacremoses tokenises, subword-nmt (or sentencepiece)
segments. Three front ends read a corpus, one core prepares it:

    dlf-prepare iwslt14   --archive de-en.tgz --out DIR
    dlf-prepare multi30k  --raw DIR --out DIR
    dlf-prepare parallel  --raw DIR --out DIR [--tokenized]

OUT then holds `bin/` (for fairseq-train), `bpe.SPLIT.LANG`, `tokenized/`, the BPE
model, `raw/{valid,test}.TARGET` (untokenised references for sacreBLEU) and
`prepare.json`, which says how it was made and which steps are finished.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from fairseq_dlf.command_line import add_version, any_number, count, number, option_names, place, run_command, whole
from fairseq_dlf.core.files.text import read_content
from fairseq_dlf.core.support.checks import require_between
from fairseq_dlf.core.support.digests import digest
from fairseq_dlf.core.support.errors import InputError, MissingFileError
from fairseq_dlf.translation.corpus.corpora import MULTI30K_NAMES, PARALLEL_NAMES, Corpus, find_raw, read_raw
from fairseq_dlf.translation.corpus.iwslt14 import read_iwslt14
from fairseq_dlf.translation.corpus.report import differences_from_recipe, report_of
from fairseq_dlf.translation.corpus.settings import BPE_MODELS, POSITIONS, SPLITS, PreparationSettings

PROGRAM = "dlf-prepare"
SHA256_DIGITS = 64
MOST_WORKERS = 1024


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = build_parser()
    stopped = "interrupted; run the same command again, it goes on"
    return run_command(PROGRAM, partial(run, parser.parse_args(arguments)), option_names(parser), stopped)


def run(options: argparse.Namespace) -> None:
    """Prepare what the options name, then print the table."""
    # Takes seconds, for which --help and mistakes need not wait.
    from fairseq_dlf.translation.corpus.steps import prepare

    settings = settings_of(options)
    require_between(1, MOST_WORKERS, workers=options.workers)
    source = open_corpus(options)
    settings = replace(settings, inputs=source.inputs)
    prepare(settings, source.read, options.out, options.workers, options.overwrite)
    report = report_of(options.out, settings.languages)
    print(report.table)
    if settings.corpus == "iwslt14":
        for note in differences_from_recipe(report.lines):
            print(note)
    print(f"train with: fairseq-train {options.out / 'bin'}")


# What options ask for -------------------------------------------------------------


class Source(NamedTuple):
    """A corpus that is there: sha256 by file name, and a function that reads it."""

    inputs: dict[str, str]
    read: Callable[[], Corpus]


def settings_of(options: argparse.Namespace) -> PreparationSettings:
    """Return the settings, still without the checksums of the input."""
    return PreparationSettings(
        corpus=options.corpus,
        source=options.source_lang,
        target=options.target_lang,
        bpe=options.bpe,
        bpe_tokens=options.bpe_tokens,
        tokenized=getattr(options, "tokenized", False),
        max_length=options.max_length,
        max_ratio=options.max_ratio,
        max_positions=options.max_positions,
        train_pairs=options.train_pairs,
        misaligned=options.misaligned,
        cut_seed=options.cut_seed,
    )


def open_corpus(options: argparse.Namespace) -> Source:
    """Find the input of the chosen front end.

    Raises:
        MissingFileError: a file is missing.
        InputError: an archive has another checksum than it should.
    """
    languages = options.source_lang, options.target_lang
    if options.corpus == "iwslt14":
        return _open_archive(options.archive, options.sha256, languages)
    if not options.raw.is_dir():
        raise MissingFileError(f"there is no folder {options.raw}: name the one that holds the text", setting="raw")
    names = MULTI30K_NAMES if options.corpus == "multi30k" else PARALLEL_NAMES
    files = {(split, lang): find_raw(options.raw, names[split], lang) for split in SPLITS for lang in languages}
    return Source({path.name: sha256_of(path) for path in files.values()}, partial(read_raw, files, languages))


def _open_archive(archive: Path, wanted: str | None, languages: tuple[str, str]) -> Source:
    if not archive.is_file():
        raise MissingFileError(
            f"there is no archive {archive}: name the file de-en.tgz, or run prepare-iwslt14.sh", setting="archive"
        )
    checksum = sha256_of(archive)
    if wanted is not None and checksum != wanted.lower():
        raise InputError(
            f"{archive} has sha256 {checksum}, wanted {wanted}: delete it and fetch it again", setting="sha256"
        )
    return Source({archive.name: checksum}, partial(read_iwslt14, archive, languages))


def sha256_of(path: Path) -> str:
    """Return the checksum of a file."""
    return digest(read_content(path, "input"), SHA256_DIGITS)


# Parsers --------------------------------------------------------------------------


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line; the defaults of a front end stand in its own line."""
    description = "Prepare parallel text for fairseq, as its IWSLT14 recipe does."
    parser = argparse.ArgumentParser(prog=PROGRAM, description=description)
    add_version(parser)
    commands = parser.add_subparsers(dest="corpus", required=True, metavar="{iwslt14,multi30k,parallel}")
    iwslt14 = commands.add_parser("iwslt14", help="IWSLT14 TED talks from de-en.tgz")
    iwslt14.add_argument("--archive", type=place, required=True, metavar="FILE", help="de-en.tgz, as fairseq has it")
    iwslt14.add_argument("--sha256", metavar="HEX", help="refuse an archive with another checksum")
    multi30k = commands.add_parser("multi30k", help="Multi30k: train, val, test_2016_flickr")
    parallel = commands.add_parser("parallel", help="text that is split already: train, valid, test")
    parallel.add_argument("--tokenized", action="store_true", help="the input is Moses-tokenised: only lower-case it")
    for command in (multi30k, parallel):
        command.add_argument("--raw", type=place, required=True, metavar="DIR", help="folder of SPLIT.LANG or .gz")
    for command, bpe_tokens, ratio in ((iwslt14, 25_000, 1.5), (multi30k, 4_000, 9.0), (parallel, 4_000, 9.0)):
        _add_common(command, bpe_tokens, ratio)
    return parser


def _add_common(command: argparse.ArgumentParser, bpe_tokens: int, max_ratio: float) -> None:
    """Add the options that every front end has."""
    command.formatter_class = argparse.ArgumentDefaultsHelpFormatter
    add = command.add_argument
    add("--out", type=place, required=True, metavar="DIR", help="new or empty folder, or one to go on with")
    add("--source-lang", default="de", metavar="LANG", help="language to translate from")
    add("--target-lang", default="en", metavar="LANG", help="language to translate into")
    add("--bpe", choices=list(BPE_MODELS), default="subword_nmt", help="package that learns the subwords")
    add(
        "--bpe-tokens", type=count, default=bpe_tokens, metavar="N", help="merges (subword_nmt), pieces (sentencepiece)"
    )
    add("--max-length", type=count, default=175, metavar="N", help="drop train pairs with a longer side, in tokens")
    add("--max-ratio", type=number, default=max_ratio, metavar="R", help="drop train pairs of a larger length ratio")
    add(
        "--max-positions",
        type=count,
        default=POSITIONS,
        metavar="N",
        help="positions of the models, one for the end: drop longer train pairs, refuse longer dev and test sentences",
    )
    add("--train-pairs", type=whole, default=0, metavar="N", help="keep N random train pairs; 0 keeps all")
    add(
        "--misaligned",
        type=any_number,
        default=0.0,
        metavar="SHARE",
        help="give this share of train pairs wrong targets",
    )
    add("--cut-seed", type=whole, default=1, metavar="S", help="seed of --train-pairs and --misaligned")
    add("--workers", type=count, default=1, metavar="N", help="processes; the result does not depend on them")
    add("--overwrite", action="store_true", help="replace what another run of dlf-prepare left in --out")


if __name__ == "__main__":
    sys.exit(main())
