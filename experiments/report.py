"""A table's records as Markdown: no figure here comes from anywhere else."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from experiments.records import Machine, Record
from experiments.results import Cell, Results
from experiments.selection import Edge, edges
from experiments.table import Column, Row, Table

# Beside figures of runs whose start was made again.
AGAIN = "†"


def report(table: Table, results: Path) -> str:
    """Return all parts of the report under the table's title."""
    return f"## {table.title}\n\n{body(table, results)}"


def body(table: Table, results: Path) -> str:
    """Return all parts of the report; losses that nothing is recorded of yet are left out."""
    everything = Results(table, results / table.name)
    begun = [
        column for column in table.columns if column.name in table.baselines or any(everything.tuning(column).values())
    ]
    found = Results(replace(table, columns=tuple(begun)), results / table.name)
    parts = (main_table, seeds_table, tuning_table, speed_table, averages_table, starts_table, footnotes)
    texts = (part(found) for part in parts)
    return "\n\n".join(text for text in texts if text)


# Test -----------------------------------------------------------------------------


def main_table(found: Results) -> str:
    """Return losses by architectures: BLEU on test, mean and standard deviation over seeds."""
    rows, cells = found.table.rows, found.chosen_cells()
    averaged = [row for row in rows if any(cell.average is not None for cell in cells if cell.row == row)]
    columns = [(row, is_average) for row in rows for is_average in (False, True) if not is_average or row in averaged]
    lines = [
        [column.title, *(_mean_of(found, row, column, is_average) for row, is_average in columns)]
        for column in found.table.columns
    ]
    head = [f"{row.title}, average" if is_average else row.title for row, is_average in columns]
    note = (
        "BLEU on test, detokenised and lower-cased, of the checkpoint that is best on dev, and of the average of "
        f"the last {found.table.last}; mean ± standard deviation over seeds ({_seeds(found)}). Settings were tuned on "
        f"{rows[0].title}, seed {rows[0].seeds[0]}, by dev; other rows and seeds take the same."
    )
    return f"### Test\n\n{markdown(['loss', *head], lines)}\n\n{note}"


def seeds_table(found: Results) -> str:
    """Return every decoded run with its interval and its p against the baselines of the same row and seed."""
    baselines = [found.table.column(name) for name in found.table.baselines]
    lines = []
    for cell in found.chosen_cells():
        test = None if cell.record is None else cell.record.test
        if test is None:
            continue
        low, high = test.interval_95
        chances = [_chance(found.p_value(cell, baseline)) for baseline in baselines]
        interval = f"{low:.2f}–{high:.2f}"
        mark = AGAIN if cell.record is not None and cell.record.starts else ""
        lines.append([*_names(cell), f"{test.bleu:.2f}{mark}", interval, *chances, f"{test.tokenised_bleu:.2f}"])
    head = ["loss", "row", "seed", "BLEU", "95 % interval", *(f"p against {each.title}" for each in baselines)]
    note = "p: approximate randomisation of sentences, 10,000 trials, two-sided."
    if any(AGAIN in str(line[3]) for line in lines):
        note += (
            f" {AGAIN}: from a warm start (or a teacher) that was made again by the same command on another machine, "
            "which rounds otherwise; there is no p between runs of different warm starts."
        )
    return f"### Every seed\n\n{markdown([*head, 'BLEU, tokenised'], lines)}\n\n{note}"


# Dev ------------------------------------------------------------------------------


def tuning_table(found: Results) -> str:
    """Return every setting's best BLEU on dev, the chosen one in bold."""
    most = max(len(column.settings) for column in found.table.columns)
    lines = []
    for column in found.table.columns:
        chosen = found.chosen(column)
        cells = []
        for setting, record in found.tuning(column).items():
            text = f"{setting.title}: {_dev(record)}"
            cells.append(f"**{text}**" if setting == chosen else text)
        ends = [] if chosen is None else edges(column, chosen)
        lines.append([column.title, *cells, *[""] * (most - len(cells)), "; ".join(map(_edge, ends))])
    row = found.table.rows[0]
    head = ["loss", *(f"setting {number}" for number in range(1, most + 1)), "chosen at the edge of"]
    note = f"Best greedy BLEU on dev among the validations of {row.title}, seed {row.seeds[0]}; bold: chosen."
    return f"### Tuning\n\n{markdown(head, lines)}\n\n{note}"


def averages_table(found: Results) -> str:
    """Return what the averages of the last checkpoints do, beside the best checkpoints."""
    lines = []
    for cell in found.chosen_cells():
        if cell.record is None or cell.average is None:
            continue
        best, average = cell.record.test, cell.average.test
        tests = ["" if each is None else f"{each.bleu:.2f}" for each in (best, average)]
        chance = _chance(found.p_of_average(cell))
        lines.append([*_names(cell), _dev(cell.record), _dev(cell.average), *tests, chance])
    last = found.table.last
    head = ["loss", "row", "seed", "dev, best", f"dev, average of {last}", "test, best", "test, average", "p"]
    return f"### Average of the last {last} checkpoints\n\n{markdown(head, lines)}"


def starts_table(found: Results) -> str:
    """Return what the warm starts reached; nothing where students start from new weights."""
    if found.table.fresh:
        return ""
    lines = [
        [row.title, seed, "" if column is None else column.title, _dev(record), _update(record), record.machine.cpu]
        for row in found.table.rows
        for seed in row.seeds
        for column, record in found.starts(row, seed)
    ]
    return f"### Warm starts\n\n{markdown(['row', 'seed', 'of a single loss', 'dev', 'at update', 'processor'], lines)}"


# Time -----------------------------------------------------------------------------


def speed_table(found: Results) -> str:
    """Return seconds a step of each loss, beside the last baseline's."""
    base = found.table.column(found.table.baselines[-1])
    lines = []
    for column in found.table.columns:
        line = [column.title]
        for row in found.table.rows:
            own, its = found.step_s(row, column), found.step_s(row, base)
            line.append("" if own is None else f"{own:.3f}" + ("" if not its else f" ({own / its:.1f} ×)"))
        lines.append(line)
    note = (
        f"Median over the intervals of the logs, then over runs; × is in units of {base.title}. The machine was shared "
        "with other runs, so that these figures only tell the order of costs."
    )
    head = ["loss", *(row.title for row in found.table.rows)]
    return f"### Seconds a step\n\n{markdown(head, lines)}\n\n{note}"


# What it holds for ----------------------------------------------------------------


def footnotes(found: Results) -> str:
    """Return signatures, data, commits and machines of all records."""
    records = list(found.all_records())
    tests = [record.test for record in records if record.test is not None]
    machines = {described(record.machine) for record in records}
    return "\n".join(
        [
            listed("detokenised", {test.signature for test in tests}),
            listed("tokenised", {test.tokenised_signature for test in tests}),
            listed("data", {f"{each.data.dictionary}:{each.data.pairs}" for each in records}),
            listed("commits", {short(commit) for record in records for commit in record.commit.split(", ")}),
            listed("machines", machines),
            f"- records: {len(records)}, of which {sum(record.diverged for record in records)} diverged",
        ]
    )


def markdown(head: Sequence[object], lines: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table."""
    rows = [list(map(str, head)), ["---"] * len(head), *(list(map(str, line)) for line in lines)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def listed(name: str, values: Iterable[str]) -> str:
    """Return a line of a list with some values."""
    return f"- {name}: " + ("; ".join(f"`{value}`" for value in sorted(values)) or "none yet")


def described(machine: Machine) -> str:
    """Return a machine in words."""
    gpu = () if machine.gpu is None else (machine.gpu,)
    versions = (f"{name} {number}" for name, number in machine.versions.items())
    return ", ".join((machine.cpu, f"{machine.cores} cores", f"{machine.threads} threads a run", *gpu, *versions))


def short(commit: str) -> str:
    """Return the first digits of a commit, with its '-dirty'."""
    head, dash, state = commit.partition("-")
    return head[:7] + dash + state


# Words ----------------------------------------------------------------------------


def _names(cell: Cell) -> list[object]:
    return [cell.column.title, cell.row.title, cell.seed]


def _mean_of(found: Results, row: Row, column: Column, is_average: bool) -> str:
    """Return the mean on test over seeds, marked where one of them comes from another start."""
    own = [cell for cell in found.chosen_cells() if cell.row == row and cell.column == column]
    records = [cell.average if is_average else cell.record for cell in own]
    tested = [record for record in records if record is not None and record.test is not None]
    text = _mean_sd([record.test.bleu for record in tested if record.test], len(found.table.seeds(row, column)))
    return text + (AGAIN if len(tested) > 1 and any(cell.record and cell.record.starts for cell in own) else "")


def _mean_sd(scores: Sequence[float], wanted: int) -> str:
    if not scores:
        return "–"
    mean = f"{statistics.fmean(scores):.2f}"
    spread = "" if len(scores) == 1 else f" ± {statistics.stdev(scores):.2f}"
    return mean + spread + (f" ({len(scores)} of {wanted} seeds)" if len(scores) < wanted else "")


def _seeds(found: Results) -> str:
    return "; ".join(f"{row.title}: {', '.join(map(str, row.seeds))}" for row in found.table.rows)


def _update(record: Record) -> str:
    return "" if record.best_update is None else f"{record.best_update:,}"


def _dev(record: Record | None) -> str:
    if record is None:
        return "–"
    if record.diverged:
        return "diverged"
    return "–" if record.best_bleu is None else f"{record.best_bleu:.2f}"


def _chance(p: float | None) -> str:
    return "" if p is None else f"{p:.4f}" if p < 0.001 else f"{p:.3f}"


def _edge(edge: Edge) -> str:
    return f"{edge.axis.replace('_', ' ')} ({'lowest' if edge.lowest else 'highest'})"
