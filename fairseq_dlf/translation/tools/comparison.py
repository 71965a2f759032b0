"""Scores of translation systems: BLEU with signatures and paired bootstrap resampling."""

import os
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sacrebleu.metrics import BLEU
from sacrebleu.significance import PairedTest
from sacremoses import MosesDetokenizer

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.translation.tools.generated import Generated, read_generated, read_references

# Detokenised targets differ from the raw references in a few spaces and unknown
# words only; below this BLEU they are other sentences, or in another order.
SAME_TEXT_BLEU = 50.0
SEED_VARIABLE = "SACREBLEU_SEED"


@dataclass(frozen=True)
class System:
    """A named system with one generated file for each seed."""

    name: str
    files: tuple[Path, ...]


@dataclass(frozen=True)
class ScoreSettings:
    """How outputs are read and scored.

    Attributes:
        bpe: mark of a subword that goes on; "" for none.
        target_lang: language to detokenise for.
        bootstrap: resamples, 1 or more.
        seed: of the resampling, 1 or more.
    """

    bpe: str = "@@ "
    target_lang: str = "en"
    bootstrap: int = 1000
    seed: int = 12345


@dataclass(frozen=True)
class RunScore:
    """Scores of one file; p_value is None for the baseline."""

    file: str
    bleu: float
    tokenised_bleu: float
    bootstrap_mean: float
    interval_95: tuple[float, float]
    p_value: float | None


@dataclass(frozen=True)
class SystemScore:
    """Scores of one system over its seeds; the standard deviations are None with a single seed."""

    name: str
    is_baseline: bool
    runs: list[RunScore]
    bleu_mean: float
    bleu_sd: float | None
    tokenised_bleu_mean: float
    tokenised_bleu_sd: float | None


@dataclass(frozen=True)
class Comparison:
    """All systems with the signatures of the two columns."""

    sentences: int
    signature: str
    tokenised_signature: str
    systems: list[SystemScore]


class Outputs(NamedTuple):
    """What was read of all systems, and what it is scored against.

    Attributes:
        generated: the files of each system, by its name.
        targets: the T lines, the same in all of them.
        references: raw references.
    """

    generated: dict[str, list[Generated]]
    targets: list[str]
    references: list[str]


def compare(
    systems: Sequence[System], baseline: str, references: Path, settings: ScoreSettings | None = None
) -> Comparison:
    """Score every file of every system and test it against the baseline.

    The i-th file of a system is tested against the i-th of the baseline, so
    files of the same training seed belong at the same place.

    Raises:
        MissingFileError: a file is not there.
        InputError: baseline not among the systems, numbers of files differ, or
            a file that does not fit the references.
    """
    settings = settings or ScoreSettings()
    _require_comparable(systems, baseline)
    systems = sorted(systems, key=lambda system: system.name != baseline)
    outputs = _read_outputs(systems, references, settings)
    tokenised = BLEU(tokenize="none", force=True)
    runs: dict[str, list[RunScore]] = {system.name: [] for system in systems}
    signature = ""
    for index in range(len(systems[0].files)):
        plain = {name: files[index].hypotheses for name, files in outputs.generated.items()}
        signature, results = _paired_test(plain, outputs.references, settings)
        for system, result in zip(systems, results, strict=True):
            score = tokenised.corpus_score(plain[system.name], [outputs.targets]).score
            runs[system.name].append(_run_score(system.files[index], result, score))
    return Comparison(
        sentences=len(outputs.references),
        signature=signature,
        tokenised_signature=str(tokenised.get_signature()),
        systems=[_system_score(system.name, system.name == baseline, runs[system.name]) for system in systems],
    )


# What is compared -----------------------------------------------------------------


def _read_outputs(systems: Sequence[System], path: Path, settings: ScoreSettings) -> Outputs:
    references = read_references(path)
    generated = {
        system.name: [read_generated(file, len(references), settings.bpe, str(path)) for file in system.files]
        for system in systems
    }
    targets = _common_targets(systems, generated)
    _require_same_text(detokenised(targets, settings.target_lang), references, path)
    return Outputs(generated, targets, references)


def _require_comparable(systems: Sequence[System], baseline: str) -> None:
    names = [system.name for system in systems]
    if len(set(names)) != len(names):
        raise InputError(f"a system is named twice in {', '.join(names)}: write its seeds as NAME=FILE1,FILE2")
    if baseline not in names:
        raise InputError(f"baseline {baseline!r} is not among the systems: {', '.join(names)}", setting="baseline")
    wanted = len(next(system for system in systems if system.name == baseline).files)
    for system in systems:
        if len(system.files) != wanted:
            raise InputError(
                f"{system.name} has {len(system.files)} files, the baseline {wanted}: "
                "pass one file for each seed, seeds in the same order"
            )


def _common_targets(systems: Sequence[System], outputs: Mapping[str, Sequence[Generated]]) -> list[str]:
    first = outputs[systems[0].name][0].targets
    for system in systems:
        for file, generated in zip(system.files, outputs[system.name], strict=True):
            if generated.targets != first:
                raise InputError(
                    f"the T lines of {file} differ from those of {systems[0].files[0]}: "
                    "generate all systems from the same data-bin and subset"
                )
    return first


def _require_same_text(targets: list[str], references: list[str], path: Path) -> None:
    agreement = BLEU(lowercase=True).corpus_score(targets, [references]).score
    if agreement < SAME_TEXT_BLEU:
        raise InputError(
            f"the T lines do not match the references {path} (BLEU {agreement:.1f} between them): pass the "
            "references of the same subset in corpus order, and check the mark of subwords",
            setting="bpe",
        )


def detokenised(lines: Sequence[str], language: str) -> list[str]:
    detokenizer = MosesDetokenizer(lang=language)
    return [detokenizer.detokenize(line.split()) for line in lines]


# Scores ---------------------------------------------------------------------------


def _paired_test(
    plain: Mapping[str, list[str]], references: list[str], settings: ScoreSettings
) -> tuple[str, list[Any]]:
    """Return sacrebleu's signature and its result for each system, the baseline first."""
    systems: list[tuple[str, Sequence[str]]] = [
        (name, detokenised(lines, settings.target_lang)) for name, lines in plain.items()
    ]
    metrics = {"BLEU": BLEU(lowercase=True)}
    with _seeded(settings.seed):
        test = PairedTest(systems, metrics, [references], test_type="bs", n_samples=settings.bootstrap)
        signatures, scores = test()
    return str(signatures["BLEU"]), scores["BLEU"]


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Set sacrebleu's seed, which only the environment can."""
    before = os.environ.get(SEED_VARIABLE)
    os.environ[SEED_VARIABLE] = str(seed)
    try:
        yield
    finally:
        if before is None:
            del os.environ[SEED_VARIABLE]
        else:
            os.environ[SEED_VARIABLE] = before


def _run_score(file: Path, result: Any, tokenised_bleu: float) -> RunScore:
    mean, half_width = float(result.mean), float(result.ci)
    return RunScore(
        file=str(file),
        bleu=float(result.score),
        tokenised_bleu=tokenised_bleu,
        bootstrap_mean=mean,
        interval_95=(mean - half_width, mean + half_width),
        p_value=None if result.p_value is None else float(result.p_value),
    )


def _system_score(name: str, is_baseline: bool, runs: list[RunScore]) -> SystemScore:
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
