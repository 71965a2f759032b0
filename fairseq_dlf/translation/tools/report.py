"""A comparison as people read it, and as programs do."""

import dataclasses
import json

from fairseq_dlf.translation.tools.comparison import Comparison, RunScore

HEAD = [
    "| system | BLEU (detokenised, lower-cased) | 95% interval | p against baseline | BLEU (tokenised) |",
    "|---|---|---|---|---|",
]


def markdown(comparison: Comparison) -> str:
    """Return the table, the signatures, and with several seeds a line for each of them."""
    lines = list(HEAD)
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


def to_json(comparison: Comparison) -> str:
    """Return all figures as JSON, with a line feed at the end."""
    return json.dumps(dataclasses.asdict(comparison), indent=2) + "\n"


def _mean_sd(mean: float, sd: float | None) -> str:
    return f"{mean:.2f}" if sd is None else f"{mean:.2f} ± {sd:.2f}"


def _row(label: str, run: RunScore) -> str:
    low, high = run.interval_95
    p_value = "" if run.p_value is None else f"{run.p_value:.3f}"
    return f"| {label} | {run.bleu:.2f} | {low:.2f}–{high:.2f} | {p_value} | {run.tokenised_bleu:.2f} |"
