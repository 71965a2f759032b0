"""The table: means, tests against cross-entropy, groups, and what cannot be compared."""

import json
import math
import statistics
import sys
from pathlib import Path

import pytest
from scipy import stats

from fairseq_dlf.images.records.training import Run
from fairseq_dlf.images.reports.table import markdown, p_over_images, p_over_seeds, table, to_json
from tests.images.made_records import record


def run(name, *records):
    return Run(name, Path("runs") / name, records)


def seeds(counts, **changes):
    """A record for each count of wrong images, with seeds from 1."""
    return [record(seed=seed, wrong=range(count), **changes) for seed, count in enumerate(counts, 1)]


@pytest.fixture
def rows():
    """Two models, one with a baseline of 3 seeds."""
    made = table(
        [
            run("taught", *seeds([2, 4, 3], loss="dlf", taught_on="mlp", curve=(0.03, 0.01))),
            run("ce", *seeds([4, 7, 4], curve=(0.02, 0.04))),
            run("from-mlp", *seeds([1], loss="dlf", model="lenet", taught_on="mlp")),
            run("fixed", *seeds([4, 4], loss="constant")),
        ]
    ).rows
    return {row.name: row for row in made}


def test_rows_stand_by_data_and_model_with_the_baseline_first(rows):
    assert list(rows) == ["ce", "taught", "fixed", "from-mlp"]
    assert [row.is_baseline for row in rows.values()] == [True, False, False, False]
    assert [row.taught_on for row in rows.values()] == [None, None, None, "mlp"]


def test_means_and_deviations_are_those_of_the_seeds(rows):
    taught = rows["taught"]
    assert taught.seeds == (1, 2, 3) and taught.test_errors == (1.0, 2.0, 1.5)
    assert taught.test_error_mean == pytest.approx(1.5) and taught.test_error_sd == pytest.approx(0.5)
    assert taught.dev_error_mean == pytest.approx(1.0)
    assert rows["ce"].test_error_sd == pytest.approx(statistics.stdev([2.0, 3.5, 2.0]))
    assert rows["ce"].dev_error_mean == pytest.approx(2.0)
    assert rows["from-mlp"].test_error_sd is None


def test_differences_are_to_the_baseline(rows):
    assert rows["taught"].difference == pytest.approx(1.5 - 2.5)
    assert rows["fixed"].difference == pytest.approx(2.0 - 2.5)
    for name in ("ce", "from-mlp"):
        assert rows[name].difference is rows[name].p_images is rows[name].p_seeds is None


def test_the_test_over_seeds_is_scipys(rows):
    wanted = stats.ttest_rel([2, 4, 3], [4, 7, 4]).pvalue
    assert 0.01 < wanted < 0.1
    assert rows["taught"].p_seeds == pytest.approx(wanted, rel=1e-12)
    assert rows["fixed"].p_seeds == pytest.approx(stats.ttest_rel([4, 4], [4, 7]).pvalue, rel=1e-12)


@pytest.mark.parametrize(
    ("mine", "theirs", "wanted"),
    [
        ({1: 3}, {1: 5}, None),  # one seed
        ({1: 3, 2: 4}, {2: 5, 3: 6}, None),  # one in common
        ({1: 3, 2: 4}, {1: 5, 2: 6}, None),  # no spread, so that t is infinite
        ({1: 3, 2: 4}, {1: 3, 2: 4}, 1.0),
        ({1: 3, 2: 9, 4: 4}, {4: 5, 1: 7, 3: 0}, stats.ttest_rel([3, 4], [7, 5]).pvalue),
    ],
)
def test_the_test_over_seeds_takes_those_that_both_have(mine, theirs, wanted):
    mine, theirs = ([record(seed=s, wrong=range(n)) for s, n in by.items()] for by in (mine, theirs))
    assert p_over_seeds(mine, theirs) == pytest.approx(wanted)


def test_the_test_over_images_is_mcnemars_with_one_seed():
    """b = 4 images only the run has wrong, c = 12 only the baseline: z² = (b − c)² / (b + c)."""
    mine, theirs = record(wrong=range(0, 10)), record(wrong=range(4, 22))
    wanted = stats.chi2.sf((4 - 12) ** 2 / (4 + 12), df=1)
    assert p_over_images([mine], [theirs]) == pytest.approx(wanted)
    assert p_over_images([theirs], [mine]) == pytest.approx(wanted)


def test_the_test_over_images_averages_seeds():
    """Image 0: 1 less 1/2; image 1: 1/2 less 1; image 2: 1/2 less 0; Σd = 1/2, Σd² = 3/4."""
    mine = [record(seed=1, wrong=(0, 1)), record(seed=2, wrong=(0, 2))]
    theirs = [record(seed=1, wrong=(0, 1)), record(seed=2, wrong=(1,))]
    assert p_over_images(mine, theirs) == pytest.approx(2 * stats.norm.sf(0.5 / math.sqrt(0.75)))


def test_the_test_over_images_is_near_one_by_random_signs():
    mine, theirs = record(wrong=range(0, 60)), record(wrong=range(40, 120))
    differences = [1.0] * 40 + [-1.0] * 60
    found = stats.permutation_test(
        (differences, [0.0] * len(differences)),
        lambda a, b, axis: (a - b).sum(axis),
        permutation_type="samples",
        n_resamples=20_000,
        vectorized=True,
        random_state=1,
    )
    assert p_over_images([mine], [theirs]) == pytest.approx(found.pvalue, abs=0.02)


def test_students_that_err_alike_have_a_p_of_one():
    made = table([run("ce", *seeds([4, 7])), run("same", *seeds([4, 7], loss="smooth"))])
    assert (made.rows[1].difference, made.rows[1].p_images, made.rows[1].p_seeds) == (0.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("data", "model", "errors"),
    [
        ("mnist", "mlp", [1.94, 1.89, 1.83, 1.69, None]),
        ("mnist", "lenet", [0.98, 0.94, 0.88, 0.77, None]),
        ("cifar10", "resnet-8", [12.45, 12.08, 11.34, 10.82, None]),
        ("digits", "mlp", [None] * 5),
        ("mnist", "mlp-20", [None] * 5),
    ],
)
def test_the_papers_figures_stand_beside_its_own_runs(data, model, errors):
    losses = ("cross_entropy", "smooth", "large_margin", "dlf", "constant")
    taught_on = {"dlf": model}
    records = [record(loss=loss, data=data, model=model, taught_on=taught_on.get(loss)) for loss in losses]
    made = table([run(one.loss, one) for one in records])
    assert [row.paper_error for row in made.rows] == errors


def test_a_teacher_of_another_model_has_no_figure_in_the_paper(rows):
    assert rows["taught"].paper_error == 1.69 and rows["from-mlp"].paper_error is None


# Baselines ------------------------------------------------------------------------


def test_options_of_a_loss_are_shown_and_label_smoothing_is_no_baseline():
    smoothed = {"options": "smoothing=0.1"}
    made = table([run("soft", *seeds([1], **smoothed)), run("ce", *seeds([2])), run("dlf", *seeds([3], loss="dlf"))])
    assert [(row.name, row.loss) for row in made.rows] == [
        ("ce", "cross_entropy"),
        ("soft", "cross_entropy(smoothing=0.1)"),
        ("dlf", "dlf"),
    ]
    assert [row.paper_error for row in made.rows] == [1.94, None, 1.69]


def test_the_baseline_can_be_named():
    runs = [run("ce", *seeds([4])), run("ce-long", *seeds([2])), run("other", *seeds([9], model="lenet"))]
    with pytest.raises(ValueError, match="2 runs on mnist mlp are of cross_entropy .ce, ce-long.: choose one"):
        table(runs)
    made = table(runs, "ce-long")
    assert [row.name for row in made.rows] == ["ce-long", "ce", "other"]
    assert [row.is_baseline for row in made.rows] == [True, False, True]
    assert [row.difference for row in made.rows] == [None, pytest.approx(1.0), None]


def test_an_unknown_baseline_is_refused():
    with pytest.raises(ValueError, match="no run is named 'cd': pass one of ce, taught"):
        table([run("taught", *seeds([1], loss="dlf")), run("ce", *seeds([4]))], "cd")


def test_a_group_without_a_baseline_is_not_compared():
    (row,) = table([run("taught", *seeds([1, 2], loss="dlf"))]).rows
    assert not row.is_baseline and row.difference is None and row.test_error_mean == pytest.approx(0.75)


@pytest.mark.parametrize("changes", [{"images": 300}, {"fingerprint": "0ther"}])
def test_runs_on_different_images_are_refused(changes):
    runs = [run("ce", *seeds([4])), run("taught", *seeds([4], loss="dlf", **changes))]
    with pytest.raises(ValueError, match="test images.* different images of mnist: pass runs on the same data"):
        table(runs)
    runs[1] = run("taught", *seeds([4], loss="dlf", model="lenet", **changes))
    assert len(table(runs).rows) == 2


def test_two_folders_of_one_name_are_refused():
    first, second = record(), record(loss="smooth")
    runs = [Run("ce", Path("a/ce"), (first,)), Run("ce", Path("b/ce"), (second,))]
    with pytest.raises(ValueError, match="a/ce and b/ce have the same name, ce: rename one"):
        table(runs)


def test_without_scipy_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    with pytest.raises(RuntimeError, match="needs scipy: pip install '.\\[images\\]'"):
        p_over_seeds(seeds([1, 2]), seeds([4, 7]))


# Text -----------------------------------------------------------------------------


def test_markdown_shows_all_of_a_row():
    runs = [
        run("ce", *seeds([40, 44, 43])),
        run("taught", *seeds([3, 4, 5], loss="dlf", taught_on="mlp")),
        run("other", *seeds([4], loss="dlf", model="lenet", taught_on="mlp")),
    ]
    lines = markdown(table(runs)).splitlines()
    assert lines[0].count("|") == lines[1].count("|") == 12
    assert lines[2] == "| ce (baseline) | mnist | mlp | cross_entropy | 3 | 21.17 ± 1.04 | 25.00 | 1.94 |  |  |  |"
    assert lines[3] == "| taught | mnist | mlp | dlf | 3 | 2.00 ± 0.50 | 25.00 | 1.69 | -19.17 | <0.001 | <0.001 |"
    assert lines[4] == "| other | mnist | lenet | dlf, taught on mlp | 1 | 2.00 | 25.00 |  |  |  |  |"
    notes = " ".join(lines[5:])
    for words in ("mnist 200; read once", "best dev accuracy", "McNemar's with one seed", "paired t-test"):
        assert words in notes


def test_json_holds_the_figures():
    made = table([run("ce", *seeds([4, 7])), run("taught", *seeds([2, 4], loss="dlf"))])
    found = json.loads(to_json(made))["rows"]
    assert [row["name"] for row in found] == ["ce", "taught"]
    assert found[0]["test_errors"] == [2.0, 3.5] and found[0]["p_seeds"] is None
    assert found[1]["difference"] == pytest.approx(-1.25) and found[1]["p_images"] == made.rows[1].p_images
