"""The choice table's records as Markdown: no figure here comes from anywhere else."""

from collections.abc import Iterable, Sequence

from experiments.choice.records import Interval, Move, PairRecord, Side
from experiments.report import described, listed, markdown, short


def report(records: Sequence[PairRecord]) -> str:
    """Return all parts of the report.

    Args:
        records: at least one.
    """
    parts = (main_table, moves_table, footnotes)
    return "\n\n".join(["## Choice of measure and form", *(part(records) for part in parts)])


def main_table(records: Sequence[PairRecord]) -> str:
    """Return a line for each pair, at its last step, and one for random signs."""
    head = ["form", "direction of", "cosine", "by thirds", "predicted", "expected", "actual", "BLEU", "95 %"]
    lines: list[list[str]] = []
    for record in records:
        found = record.figures
        agreement = [_cosine(found.cosine), " ".join(map(_cosine, found.cosines))]
        cost = [f"{part:.1f}" for part in (found.seconds.forward, found.seconds.reverse, found.seconds.measure)]
        form = f"{record.form} ({found.coefficients:,})"
        lines.append([form, record.measure, *agreement, *_contrast(found.moves[-1]), *cost])
        lines.append([form, f"random signs, {record.measure}", "", "", *_contrast(found.control), "", "", ""])
    note = (
        "Cosine of ΣdΦ between two disjoint halves of dev. Φ is moved along ΣdΦ of the first half until a coefficient "
        "has moved by the last step, and back as far: half the difference of both in the measure on the second half "
        "(× 100; predicted by dΦ of the first half, expected by dΦ of the second) and in greedy BLEU on sentences that "
        "no measure saw (paired bootstrap). Seconds of an episode: updates, reverse pass, measure of a half with its "
        "gradient."
    )
    return f"{markdown([*head, 'forward', 'reverse', 'measure'], lines)}\n\n{note}"


def moves_table(records: Sequence[PairRecord]) -> str:
    """Return a line for each step of each pair, ahead and back."""
    head = ["form", "direction of", "step", "norm of the step", "predicted", "expected", "actual", "BLEU", "95 %"]
    lines = []
    for record in records:
        found = record.figures
        for name, moves in ((record.measure, found.moves), (f"random signs, {record.measure}", (found.control,))):
            for move in moves:
                for sign, side in ((1, move.ahead), (-1, move.back)):
                    step = [f"{sign * move.share:+g}", f"{move.norm:.3f}"]
                    lines.append([record.form, name, *step, *_side(move, side, sign)])
    note = "Changes against neutral Φ. Step and norm are shares of the root mean square and of the norm of neutral Φ."
    return f"### Every step\n\n{markdown(head, lines)}\n\n{note}"


def footnotes(records: Sequence[PairRecord]) -> str:
    """Return what the figures hold for."""
    bleus = {f"{each.form}: {each.figures.bleu_before:.2f} → {each.figures.bleu_neutral:.2f}" for each in records}
    return "\n".join(
        [
            listed("greedy BLEU on unseen sentences, by neutral Φ", bleus),
            listed("sentences (half, half, unseen)", {_sentences(each) for each in records}),
            listed("growth of the cotangent", {_growth(each) for each in records}),
            listed("signatures", {each.signature for each in records}),
            listed("commands", {each.command for each in records}),
            listed("data", {f"{each.data.dictionary}:{each.data.pairs}" for each in records}),
            listed("commits", {short(each.commit) for each in records}),
            listed("machines", {described(each.machine) for each in records}),
        ]
    )


# Words ----------------------------------------------------------------------------


def _contrast(move: Move) -> list[str]:
    changes = (move.predicted, move.expected, move.half_measure)
    return [*_changes(changes), f"{move.half_bleu:+.2f}", _interval(move.half_interval_95)]


def _side(move: Move, side: Side, sign: int) -> list[str]:
    changes = (sign * move.predicted, sign * move.expected, side.measure)
    return [*_changes(changes), f"{side.bleu:+.2f}", _interval(side.interval_95)]


def _changes(changes: Iterable[float]) -> list[str]:
    return [f"{100 * change:+.3f}" for change in changes]


def _interval(interval: Interval) -> str:
    return f"{interval[0]:+.2f} to {interval[1]:+.2f}"


def _cosine(cosine: float | None) -> str:
    return "–" if cosine is None else f"{cosine:.2f}"


def _sentences(record: PairRecord) -> str:
    return ", ".join(map(str, record.figures.sentences))


def _growth(record: PairRecord) -> str:
    return f"{record.measure}, {record.form}: {max(record.figures.growth):.3g}"
