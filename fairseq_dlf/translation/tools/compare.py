"""Compare translation systems: BLEU with signatures and paired bootstrap resampling.

Reads what `fairseq-generate` printed for each system and prints a Markdown
table. Detokenised, lower-cased sacreBLEU against the raw references and
tokenised BLEU against the T lines stand in columns of their own, each with the
signature that sacrebleu gives it.
"""

import argparse
import dataclasses
import json
import logging
import os
import re
import statistics
import sys
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

from sacrebleu.metrics import BLEU
from sacrebleu.significance import PairedTest
from sacremoses import MosesDetokenizer

from fairseq_dlf.translation.tools.arguments import positive

LINE = re.compile(r"^([HDT])-(\d+)\t(.*)$")
MISSING_SHOWN = 5
# Detokenised targets differ from the raw references in a few spaces and unknown
# words only; below this BLEU they are other sentences, or in another order.
SAME_TEXT_BLEU = 50.0


@dataclasses.dataclass(frozen=True)
class System:
    """A named system with one generated file for each seed."""

    name: str
    files: Tuple[Path, ...]


@dataclasses.dataclass(frozen=True)
class Generated:
    """One `fairseq-generate` output: tokenised sentences without BPE, by id."""

    hypotheses: List[str]
    targets: List[str]


@dataclasses.dataclass(frozen=True)
class RunScore:
    """Scores of one file; p_value is None for the baseline."""

    file: str
    bleu: float
    tokenised_bleu: float
    bootstrap_mean: float
    interval_95: Tuple[float, float]
    p_value: Optional[float]


@dataclasses.dataclass(frozen=True)
class SystemScore:
    """Scores of one system over its seeds; sd is None with a single seed."""

    name: str
    is_baseline: bool
    runs: List[RunScore]
    bleu_mean: float
    bleu_sd: Optional[float]
    tokenised_bleu_mean: float
    tokenised_bleu_sd: Optional[float]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """All systems with the signatures of the two columns."""

    sentences: int
    signature: str
    tokenised_signature: str
    systems: List[SystemScore]


def parse_system(text: str) -> System:
    """Read `name=file` or, for several seeds, `name=file1,file2`."""
    name, separator, files = text.partition("=")
    paths = tuple(Path(file) for file in files.split(",") if file)
    if not (name and separator and paths):
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted NAME=FILE or NAME=FILE1,FILE2")
    return System(name, paths)


def read_references(path: Path) -> List[str]:
    """Read one raw reference a line.

    Raises:
        ValueError: the file is not there, holds nothing, or a line of it is empty.
    """
    lines = _read_text(path, "references").splitlines()
    empty = [number for number, line in enumerate(lines, start=1) if not line.strip()]
    if not lines or empty:
        where = f"line {empty[0]}" if empty else "the whole file"
        raise ValueError(f"empty reference in {path} ({where}): remove the pair from the test set or fill it in")
    return lines


def read_generated(path: Path, sentences: int, bpe: str) -> Generated:
    """Read hypotheses and targets, which fairseq-generate prints in no order, by id.

    Args:
        path: output of `fairseq-generate`; of an n-best list the first entry counts.
        sentences: how many there must be.
        bpe: mark of a subword that goes on, such as '@@ '; removed where it is left.

    Raises:
        ValueError: the file is not there, has no H or T lines, or lacks sentences.
    """
    found: Dict[str, Dict[int, str]] = {"H": {}, "D": {}, "T": {}}
    for line in _read_text(path, "output of fairseq-generate").splitlines():
        match = LINE.match(line)
        if match:
            kind, number, rest = match.groups()
            text = rest if kind == "T" else rest.partition("\t")[2]  # H and D carry a score
            found[kind].setdefault(int(number), remove_bpe(text, bpe))
    if not found["H"]:
        raise ValueError(f"no H lines in {path}: pass what fairseq-generate printed, made without --quiet")
    if not found["T"]:
        raise ValueError(f"no T lines in {path}: generate from a data-bin that holds the targets")
    _check_complete(path, found["H"], sentences)
    hypotheses = {**found["H"], **found["D"]}
    return Generated(*([lines[i] for i in range(sentences)] for lines in (hypotheses, found["T"])))


def remove_bpe(text: str, mark: str) -> str:
    """Join subwords: fairseq's own rule, which also catches a mark at the end."""
    return (text + " ").replace(mark, "").strip() if mark else text.strip()


def compare(
    systems: Sequence[System],
    baseline: str,
    references_file: Path,
    bpe: str = "@@ ",
    target_lang: str = "en",
    bootstrap: int = 1000,
    seed: int = 12345,
) -> Comparison:
    """Score every file of every system and test it against the baseline.

    The i-th file of a system is tested against the i-th of the baseline, so
    files of the same training seed belong at the same place.

    Raises:
        ValueError: baseline not among the systems, numbers of files differ, or
            a file that does not fit the references.
    """
    _check_systems(systems, baseline)
    systems = sorted(systems, key=lambda system: system.name != baseline)
    references = read_references(references_file)
    outputs = {system.name: [read_generated(file, len(references), bpe) for file in system.files] for system in systems}
    detokenizer = MosesDetokenizer(lang=target_lang)
    targets = _common_targets(systems, outputs)
    _check_same_text([_detokenise(detokenizer, line) for line in targets], references, references_file)

    metric, tokenised = BLEU(lowercase=True), BLEU(tokenize="none", force=True)
    runs: Dict[str, List[RunScore]] = {system.name: [] for system in systems}
    signature = ""
    for index in range(len(systems[0].files)):
        plain = {name: generated[index].hypotheses for name, generated in outputs.items()}
        detokenised = [(name, [_detokenise(detokenizer, line) for line in lines]) for name, lines in plain.items()]
        signature, results = _paired_test(detokenised, references, metric, bootstrap, seed)
        for system, result in zip(systems, results, strict=True):
            score = tokenised.corpus_score(plain[system.name], [targets]).score
            runs[system.name].append(_run_score(system.files[index], result, score))
    return Comparison(
        sentences=len(references),
        signature=signature,
        tokenised_signature=str(tokenised.get_signature()),
        systems=[_system_score(system.name, system.name == baseline, runs[system.name]) for system in systems],
    )


def markdown(comparison: Comparison) -> str:
    """The table, the signatures, and with several seeds a line for each of them."""
    lines = [
        "| system | BLEU (detokenised, lower-cased) | 95% interval | p against baseline | BLEU (tokenised) |",
        "|---|---|---|---|---|",
    ]
    for system in comparison.systems:
        label = f"{system.name} (baseline)" if system.is_baseline else system.name
        if len(system.runs) == 1:
            lines.append(_row(label, system.runs[0]))
            continue
        bleu = _mean_sd(system.bleu_mean, system.bleu_sd)
        tokenised = _mean_sd(system.tokenised_bleu_mean, system.tokenised_bleu_sd)
        lines.append(f"| {label}, {len(system.runs)} seeds | {bleu} | | | {tokenised} |")
        lines += [_row(f"– {run.file}", run) for run in system.runs]
    lines += [
        "",
        f"{comparison.sentences:,} sentences; p: paired bootstrap resampling, each file against the "
        "baseline's of the same place; ± standard deviation over seeds.",
        f"detokenised: `{comparison.signature}`",
        f"tokenised: `{comparison.tokenised_signature}`",
    ]
    return "\n".join(lines)


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Command line `dlf-compare`."""
    options = _parser().parse_args(argv)
    # sacrebleu warns of tokenised input, which is what the tokenised column is.
    logging.getLogger("sacrebleu").setLevel(logging.ERROR)
    try:
        comparison = compare(
            options.systems,
            options.baseline,
            options.references,
            options.bpe,
            options.target_lang,
            options.bootstrap,
            options.seed,
        )
    except ValueError as error:
        print(f"dlf-compare: {error}", file=sys.stderr)
        return 1
    print(markdown(comparison))
    if options.json is not None:
        options.json.write_text(json.dumps(dataclasses.asdict(comparison), indent=2) + "\n", encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dlf-compare", description=__doc__.splitlines()[0])
    parser.add_argument(
        "systems",
        nargs="+",
        type=parse_system,
        metavar="NAME=FILE[,FILE…]",
        help="output of fairseq-generate for a system; several files are several training seeds",
    )
    parser.add_argument("--baseline", required=True, metavar="NAME", help="the system to test against")
    parser.add_argument("--references", required=True, type=Path, help="raw references, in corpus order")
    parser.add_argument("--bpe", default="@@ ", help="subword mark to remove (default: '@@ '; '' for none)")
    parser.add_argument("--target-lang", default="en", help="language to detokenise for (default: en)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures there")
    # sacrebleu takes 0 resamples as its default and seed 0 as no seed at all.
    parser.add_argument("--bootstrap", type=positive, default=1000, help="resamples (default: 1000)")
    parser.add_argument("--seed", type=positive, default=12345, help="of the resampling (default: 12345)")
    return parser


def _read_text(path: Path, what: str) -> str:
    if not path.is_file():
        raise ValueError(f"{what} not found: {path}")
    return path.read_text(encoding="utf-8")


def _check_systems(systems: Sequence[System], baseline: str) -> None:
    names = [system.name for system in systems]
    if len(set(names)) != len(names):
        raise ValueError(f"a system is named twice in {', '.join(names)}: write its seeds as NAME=FILE1,FILE2")
    if baseline not in names:
        raise ValueError(f"baseline {baseline!r} is not among the systems: {', '.join(names)}")
    wanted = len(next(system for system in systems if system.name == baseline).files)
    for system in systems:
        if len(system.files) != wanted:
            raise ValueError(
                f"{system.name} has {len(system.files)} files, the baseline {wanted}: "
                "pass one file for each seed, seeds in the same order"
            )


def _check_complete(path: Path, hypotheses: Dict[int, str], sentences: int) -> None:
    missing = sorted(set(range(sentences)) - set(hypotheses))
    if missing:
        shown = ", ".join(map(str, missing[:MISSING_SHOWN])) + (", …" if len(missing) > MISSING_SHOWN else "")
        raise ValueError(
            f"{path} holds {len(hypotheses):,} of {sentences:,} sentences (missing ids: {shown}): "
            "fairseq-generate was stopped, or skipped what is too long; generate again without "
            "--skip-invalid-size-inputs-valid-test and with a larger --max-source-positions"
        )
    if len(hypotheses) > sentences:
        raise ValueError(
            f"{path} holds {len(hypotheses):,} sentences, the references {sentences:,}: "
            "pass the references of the subset that was generated"
        )


def _common_targets(systems: Sequence[System], outputs: Dict[str, List[Generated]]) -> List[str]:
    first = outputs[systems[0].name][0].targets
    for system in systems:
        for file, generated in zip(system.files, outputs[system.name], strict=True):
            if generated.targets != first:
                raise ValueError(
                    f"the T lines of {file} differ from those of {systems[0].files[0]}: "
                    "generate all systems from the same data-bin and subset"
                )
    return first


def _check_same_text(targets: List[str], references: List[str], path: Path) -> None:
    agreement = BLEU(lowercase=True).corpus_score(targets, [references]).score
    if agreement < SAME_TEXT_BLEU:
        raise ValueError(
            f"the T lines do not match the references {path} (BLEU {agreement:.1f} between them): "
            "pass the references of the same subset in corpus order, and check --bpe"
        )


def _detokenise(detokenizer: MosesDetokenizer, line: str) -> str:
    return detokenizer.detokenize(line.split())


def _paired_test(systems, references, metric, bootstrap, seed):
    """sacrebleu's signature and one Result a system; its seed can only be set by environment."""
    before = os.environ.get("SACREBLEU_SEED")
    os.environ["SACREBLEU_SEED"] = str(seed)
    try:
        test = PairedTest(systems, {"BLEU": metric}, [references], test_type="bs", n_samples=bootstrap)
        signatures, scores = test()
    finally:
        if before is None:
            del os.environ["SACREBLEU_SEED"]
        else:
            os.environ["SACREBLEU_SEED"] = before
    return str(signatures["BLEU"]), scores["BLEU"]


def _run_score(file: Path, result, tokenised_bleu: float) -> RunScore:
    mean, half_width = float(result.mean), float(result.ci)
    return RunScore(
        file=str(file),
        bleu=float(result.score),
        tokenised_bleu=tokenised_bleu,
        bootstrap_mean=mean,
        interval_95=(mean - half_width, mean + half_width),
        p_value=None if result.p_value is None else float(result.p_value),
    )


def _system_score(name: str, is_baseline: bool, runs: List[RunScore]) -> SystemScore:
    bleu, tokenised = [run.bleu for run in runs], [run.tokenised_bleu for run in runs]
    several = len(runs) > 1
    return SystemScore(
        name=name,
        is_baseline=is_baseline,
        runs=runs,
        bleu_mean=statistics.fmean(bleu),
        bleu_sd=statistics.stdev(bleu) if several else None,
        tokenised_bleu_mean=statistics.fmean(tokenised),
        tokenised_bleu_sd=statistics.stdev(tokenised) if several else None,
    )


def _mean_sd(mean: float, sd: Optional[float]) -> str:
    return f"{mean:.2f}" if sd is None else f"{mean:.2f} ± {sd:.2f}"


def _row(label: str, run: RunScore) -> str:
    low, high = run.interval_95
    p_value = "" if run.p_value is None else f"{run.p_value:.3f}"
    return f"| {label} | {run.bleu:.2f} | {low:.2f}–{high:.2f} | {p_value} | {run.tokenised_bleu:.2f} |"


if __name__ == "__main__":
    sys.exit(main())
