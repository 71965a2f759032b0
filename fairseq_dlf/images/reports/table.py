"""A table of test errors, with statistical tests against the run of cross-entropy."""

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from fairseq_dlf.core.support.errors import InputError, StateError
from fairseq_dlf.images.records.training import ACCURACY, Run, RunRecord

BASELINE_LOSS = "cross_entropy"
# The runs that others of the same measure are compared with.
_BASELINES = {ACCURACY: BASELINE_LOSS, "AUCPR": "binary_cross_entropy"}

# Test error, per cent, by data, model and loss. Paper: Tables 1 and 2.
_PAPER_LOSSES = (BASELINE_LOSS, "smooth", "large_margin", "dlf")
_PAPER_ERRORS = {
    ("mnist", "mlp"): (1.94, 1.89, 1.83, 1.69),
    ("mnist", "lenet"): (0.98, 0.94, 0.88, 0.77),
    ("cifar10", "resnet-8"): (12.45, 12.08, 11.34, 10.82),
}
_HEADER = (
    *("run", "data", "model", "loss", "seeds", "test error, %", "dev error, %", "paper, %"),
    *("difference, points", "p over images", "p over seeds"),
)


@dataclass(frozen=True)
class Row:
    """A run in the table; None stands for an unknown figure.

    Attributes:
        name: of the run's folder.
        data, model: names.
        loss: name, with its options where they differ from the defaults.
        taught_on: model that the teacher was taught on, if it is another one.
        is_baseline: whether the rows of the same data and model are compared with this one.
        seeds: ascending.
        test_images: number of test images.
        test_errors: by seed, in per cent.
        test_error_mean, test_error_sd: mean and sample standard deviation of `test_errors`.
        dev_error_mean: in per cent.
        paper_error: the paper's test error, in per cent.
        difference: mean test error minus that of the baseline, in points.
        p_images: as `p_over_images` against the baseline.
        p_seeds: as `p_over_seeds` against the baseline.
        measure: what the errors are 100 minus of.
    """

    name: str
    data: str
    model: str
    loss: str
    taught_on: str | None
    is_baseline: bool
    seeds: tuple[int, ...]
    test_images: int
    test_errors: tuple[float, ...]
    test_error_mean: float
    test_error_sd: float | None
    dev_error_mean: float
    paper_error: float | None
    difference: float | None
    p_images: float | None
    p_seeds: float | None
    measure: str = ACCURACY


@dataclass(frozen=True)
class Table:
    """Rows grouped by data, model and measure, each group's baseline first."""

    rows: tuple[Row, ...]


def table(runs: Sequence[Run], baseline: str | None = None) -> Table:
    """Compare runs with the baseline of the same data, model and measure.

    Args:
        runs: as from `find_runs`.
        baseline: name of the run to compare with; a group without a run of that name is compared
            with its run of cross-entropy, and a group without either is not compared.

    Raises:
        InputError: no run has the baseline's name, or a group has several runs of cross-entropy,
            two runs of one name, or runs on different images.
    """
    if baseline is not None and baseline not in {run.name for run in runs}:
        raise InputError(
            f"no run is named {baseline!r}: pass one of {', '.join(sorted({run.name for run in runs}))}",
            setting="baseline",
        )
    groups: dict[tuple[str, str, str], list[Run]] = {}
    for run in runs:
        first = run.records[0]
        groups.setdefault((first.data, first.model, first.measure), []).append(run)
    rows: list[Row] = []
    for members in groups.values():
        _require_comparable(members)
        reference = _baseline_of(members, baseline)
        rows += [_row(run, reference) for run in sorted(members, key=lambda run: run is not reference)]
    return Table(tuple(rows))


def p_over_images(records: Sequence[RunRecord], baseline: Sequence[RunRecord]) -> float:
    """Return the two-sided p, over images, of the hypothesis that these students err equally often on an image.

    For each image, d is the share of students that err on it minus the baseline's share. If
    the sign of every d is random, Σd has variance Σd², and Σd / √Σd² is approximately normal.
    With one seed each this is McNemar's test.

    Returns:
        The p-value; 1 if the shares are equal for every image.
    """
    differences = _shares_wrong(records) - _shares_wrong(baseline)
    variance = float(differences.square().sum())
    return math.erfc(abs(float(differences.sum())) / math.sqrt(2.0 * variance)) if variance else 1.0


def p_over_seeds(records: Sequence[RunRecord], baseline: Sequence[RunRecord]) -> float | None:
    """Return the two-sided p of a paired t-test over the seeds that both have.

    Returns:
        The p-value; None with fewer than two such seeds, and where the difference is the same
        for all of them but not 0, since t is then infinite.

    Raises:
        StateError: scipy is missing.
    """
    theirs = {record.seed: record for record in baseline}
    pairs = [(_missed(mine), _missed(theirs[mine.seed])) for mine in records if mine.seed in theirs]
    differences = {mine - other for mine, other in pairs}
    if len(pairs) < 2 or (len(differences) == 1 and 0 not in differences):
        return None
    if differences == {0}:
        return 1.0
    try:
        from scipy.stats import ttest_rel
    except ImportError as error:
        raise StateError("the test over seeds needs scipy: pip install '.[images]'") from error
    return float(ttest_rel(*zip(*pairs, strict=True)).pvalue)


def _missed(record: RunRecord) -> float:
    """Return how many images are wrong, a whole number, which is exact; of other measures the error."""
    return len(record.test_wrong) if record.measure == ACCURACY else record.test_error


def markdown(compared: Table) -> str:
    """Write the table in Markdown, with notes on its figures."""
    lines = [_line(_HEADER), "|" + "---|" * len(_HEADER), *(_line(_cells(row)) for row in compared.rows)]
    images = {f"{row.data} {row.test_images:,}": None for row in compared.rows}
    notes = (
        f"Test images: {', '.join(images)}; read once, by the student of the epoch with the best dev accuracy. "
        "± is the sample standard deviation over seeds; paper: Wu et al. (2018), Tables 1 and 2; difference: from "
        "the baseline of the same data and model, negative is better.",
        "p over images: two-sided paired test (random signs, normal approximation; McNemar's with one seed) of the "
        "mean errors on each test image; it applies to these students only.",
        "p over seeds: two-sided paired t-test of the test errors of the seeds that both runs have; empty with fewer "
        "than two such seeds, or if all differ by the same amount.",
    )
    return "\n".join([*lines, "", "\n\n".join(notes)])


def to_json(compared: Table) -> str:
    """Write all figures of the table as JSON."""
    return json.dumps(asdict(compared), indent=2)


# Rows -----------------------------------------------------------------------------


def _require_comparable(members: Sequence[Run]) -> None:
    """Raise InputError unless the members, of one data and model, have different names and the same images."""
    names: dict[str, Run] = {}
    for run in members:
        other = names.setdefault(run.name, run)
        if other is not run:
            raise InputError(
                f"{other.folder} and {run.folder} have the same name, {run.name}: rename one of the folders"
            )
    first = members[0]
    for run in members[1:]:
        if _images_of(run) != _images_of(first):
            count, wanted = run.records[0].test_images, first.records[0].test_images
            raise InputError(
                f"{run.folder} ({count:,} test images) and {first.folder} ({wanted:,}) were trained or tested on "
                f"different images of {first.records[0].data}: pass runs on the same data, split alike and with "
                "as many training images, or make a table of each"
            )


def _images_of(run: Run) -> tuple[int | str, ...]:
    """Return the number of test images, the fingerprint of the data and the number of training images."""
    record = run.records[0]
    return record.test_images, *(record.parsed_signature.get(name) for name in ("fingerprint", "train_images"))


def _baseline_of(members: Sequence[Run], name: str | None) -> Run | None:
    named = [run for run in members if run.name == name]
    record = members[0].records[0]
    loss = _BASELINES.get(record.measure, BASELINE_LOSS)
    plain = named or [run for run in members if _loss_text(run.records[0]) == loss]
    if len(plain) > 1:
        raise InputError(
            f"{len(plain)} runs on {record.data} {record.model} are of {loss} "
            f"({', '.join(run.name for run in plain)}): choose one of them as the baseline",
            setting="baseline",
        )
    return plain[0] if plain else None


def _row(run: Run, reference: Run | None) -> Row:
    records, first = run.records, run.records[0]
    errors = tuple(record.test_error for record in records)
    taught_on = None if first.taught_on == first.model else first.taught_on
    compared = reference is not None and reference is not run
    against = reference.records if reference is not None else ()
    mean = statistics.fmean(errors)
    return Row(
        name=run.name,
        data=first.data,
        model=first.model,
        loss=_loss_text(first),
        taught_on=taught_on,
        is_baseline=reference is run,
        seeds=tuple(record.seed for record in records),
        test_images=first.test_images,
        test_errors=errors,
        test_error_mean=mean,
        test_error_sd=statistics.stdev(errors) if len(errors) > 1 else None,
        dev_error_mean=statistics.fmean(record.dev_error for record in records),
        # The paper's students were taught on their own model.
        paper_error=_paper_error(first) if taught_on is None else None,
        difference=mean - statistics.fmean(record.test_error for record in against) if compared else None,
        p_images=p_over_images(records, against) if compared and first.measure == ACCURACY else None,
        p_seeds=p_over_seeds(records, against) if compared else None,
        measure=first.measure,
    )


def _loss_text(record: RunRecord) -> str:
    """Return the loss with its options, in the words of the signature: 'cross_entropy(smoothing=0.1)'."""
    options = record.parsed_signature.get("loss_options")
    return record.loss if options in ("", "ce_share=0") else f"{record.loss}({options})"


def _paper_error(record: RunRecord) -> float | None:
    # The paper has no label smoothing.
    if record.loss == BASELINE_LOSS and _loss_text(record) != BASELINE_LOSS:
        return None
    errors = _PAPER_ERRORS.get((record.data, record.model))
    return dict(zip(_PAPER_LOSSES, errors, strict=True)).get(record.loss) if errors is not None else None


def _shares_wrong(records: Sequence[RunRecord]) -> Tensor:
    """Return, for each test image, the share of students that err on it, (images,), float64."""
    wrong = torch.zeros(records[0].test_images, dtype=torch.float64)
    for record in records:
        wrong[list(record.test_wrong)] += 1.0
    return wrong / len(records)


# Text -----------------------------------------------------------------------------


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(row: Row) -> list[str]:
    error = f"{row.test_error_mean:.2f}"
    return [
        row.name + (" (baseline)" if row.is_baseline else ""),
        row.data + ("" if row.measure == ACCURACY else f", {row.measure}"),
        row.model,
        row.loss + (f", taught on {row.taught_on}" if row.taught_on is not None else ""),
        str(len(row.seeds)),
        error if row.test_error_sd is None else f"{error} ± {row.test_error_sd:.2f}",
        f"{row.dev_error_mean:.2f}",
        "" if row.paper_error is None else f"{row.paper_error:.2f}",
        "" if row.difference is None else f"{row.difference:+.2f}",
        _p_text(row.p_images),
        _p_text(row.p_seeds),
    ]


def _p_text(p: float | None) -> str:
    if p is None:
        return ""
    return f"{p:.3f}" if p >= 0.001 else "<0.001"
