"""A comparison as people read it, and as programs do."""

import dataclasses
import json
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from fairseq_dlf.translation.tools.comparison import Comparison, SystemScore
from fairseq_dlf.translation.tools.flags import LONG_RATIO, LOOP_ROUNDS, LOOP_WORDS
from fairseq_dlf.translation.tools.run_score import RunScore

HEAD = (
    "system",
    "BLEU (detokenised, lower-cased)",
    "95% interval",
    "p (two-sided) against baseline",
    "BP",
    "length ratio",
    "chrF",
    "BLEU (tokenised)",
)
TOO_LONG = f"more than {LONG_RATIO} × reference"
FLAGGED_HEAD = ("system", "loops", TOO_LONG, "BLEU without", "p without")
NUMBERS_SHOWN = 10
WIDTH = 110


def markdown(comparison: Comparison, note: str = "") -> str:
    """Return the table, with several seeds a line for each of them, and below it all that one must know to read it.

    Args:
        note: what the caller wants to say about the table.
    """
    rows = [row for system in comparison.systems for row in _rows(system)]
    parts = [
        _table(HEAD, rows),
        _paragraph(note),
        _flagged(comparison),
        _explanations(comparison),
        _signatures(comparison),
    ]
    return "\n\n".join(part for part in parts if part)


def to_json(comparison: Comparison, note: str = "") -> str:
    """Return all figures, signatures and flags as JSON, with a line feed at the end."""
    return json.dumps({"note": note, **dataclasses.asdict(comparison)}, indent=2, ensure_ascii=False) + "\n"


# Scores ---------------------------------------------------------------------------


def _rows(system: SystemScore) -> Iterator[Sequence[str]]:
    for label, run in _labelled(system):
        yield _summary(label, system) if run is None else _row(label, run)


def _labelled(system: SystemScore) -> Iterator[tuple[str, RunScore | None]]:
    """Yield the labels of a system's lines with their runs; the line of all its seeds has none."""
    name = f"{system.name} (baseline)" if system.is_baseline else system.name
    if len(system.runs) == 1:
        yield name, system.runs[0]
        return
    yield f"{name}, {len(system.runs)} seeds", None
    yield from ((f"– {run.file}", run) for run in system.runs)


def _summary(label: str, system: SystemScore) -> Sequence[str]:
    bleu, chrf, tokenised = (
        f"{mean:.2f} ± {sd:.2f}"
        for mean, sd in (
            (system.bleu_mean, system.bleu_sd),
            (system.chrf_mean, system.chrf_sd),
            (system.tokenised_bleu_mean, system.tokenised_bleu_sd),
        )
    )
    return label, bleu, "", "", "", "", chrf, tokenised


def _row(label: str, run: RunScore) -> Sequence[str]:
    low, high = run.interval_95
    return (
        label,
        f"{run.bleu:.2f}",
        f"{low:.2f}–{high:.2f}",
        _chance(run.p_value),
        f"{run.brevity_penalty:.3f}",
        f"{run.length_ratio:.3f}",
        f"{run.chrf:.2f}",
        f"{run.tokenised_bleu:.2f}",
    )


# Flags ----------------------------------------------------------------------------


def _flagged(comparison: Comparison) -> str:
    """Return which outputs are flagged, and what BLEU is without their sentences."""
    loop = f"a phrase {LOOP_ROUNDS} times or more in a row, {LOOP_WORDS} words or more in all"
    if not comparison.flagged:
        return _paragraph(f"No output loops ({loop}) or has more than {LONG_RATIO} times the words of its reference.")
    rows = [
        (
            label,
            _numbers(run.flags.loops),
            _numbers(run.flags.long),
            _score(run.bleu_without_flagged),
            _chance(run.p_without_flagged),
        )
        for system in comparison.systems
        for label, run in _labelled(system)
        if run is not None
    ]
    warning = _paragraph(
        f"**Warning: outputs of {len(comparison.flagged):,} of {comparison.sentences:,} sentences loop or are far too "
        f"long** ({loop}; or more than {LONG_RATIO} times the words of the reference). A few of them can move BLEU by "
        "whole points. Their numbers, as in the H lines, and BLEU without these sentences in all systems:"
    )
    return f"{warning}\n\n{_table(FLAGGED_HEAD, rows)}"


def _numbers(numbers: Sequence[int]) -> str:
    """Return how many there are, and the first of them."""
    if not numbers:
        return "0"
    more = ", …" if len(numbers) > NUMBERS_SHOWN else ""
    return f"{len(numbers):,}: {', '.join(map(str, numbers[:NUMBERS_SHOWN]))}{more}"


# Words ----------------------------------------------------------------------------


def _explanations(comparison: Comparison) -> str:
    """Return what the columns mean, as far as the table has them."""
    several, tested = len(comparison.systems[0].runs) > 1, len(comparison.systems) > 1
    lines = [
        f"{comparison.sentences:,} sentences. BP: brevity penalty, 1 unless the output is shorter than the references; "
        "length ratio: words of the output by words of the references; 95% interval: bootstrap over sentences."
    ]
    if tested:
        lines.append(
            "p: two-sided, by approximate randomisation of sentences: the share of shuffles with at least this "
            "difference in BLEU, of either sign, where the two outputs of each sentence change places at random. "
            "It is about these outputs: training with another seed may move BLEU by more."
        )
    if tested and several:
        lines.append(
            "The i-th file of each system is tested against the baseline's i-th file; no p is about all seeds together."
        )
    if several:
        lines.append("± is the standard deviation over seeds.")
    return "\n".join(map(_paragraph, lines))


def _signatures(comparison: Comparison) -> str:
    signatures = {
        "detokenised": comparison.signature,
        "tokenised": comparison.tokenised_signature,
        "chrF": comparison.chrf_signature,
    }
    if len(comparison.systems) > 1:
        signatures["p"] = comparison.p_signature
    return "\n".join(f"{name}: `{signature}`" for name, signature in signatures.items())


def _chance(p_value: float | None) -> str:
    return "" if p_value is None else "<0.001" if p_value < 0.001 else f"{p_value:.3f}"


def _score(score: float | None) -> str:
    return "–" if score is None else f"{score:.2f}"


def _paragraph(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
