"""The report of made records."""

import re
import statistics
from dataclasses import replace

import pytest

from experiments.records import Records
from experiments.report import report
from experiments.significance import p_value
from experiments.table import at
from tests.experiments.made import MACHINE, TABLE, fill, record, sentences, student


@pytest.fixture
def records(tmp_path):
    return Records(tmp_path / TABLE.name)


def lines(text, part):
    """The rows of a part's table, each as its cells."""
    body = text.split(f"### {part}")[1].split("###")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in body.splitlines() if line.startswith("|")]


def test_test_has_mean_and_deviation_over_seeds(records, tmp_path):
    fill(records)
    found = lines(report(TABLE, tmp_path), "Test")
    assert found[0] == ["loss", "A", "A, average", "B", "B, average"]
    deviation = f"{statistics.stdev([35.1, 35.2]):.2f}"
    assert found[2:] == [
        ["plain loss", f"35.15 ± {deviation}", f"35.65 ± {deviation}", "35.50", "36.00"],
        ["taught loss", f"36.15 ± {deviation}", f"36.65 ± {deviation}", "36.50", "37.00"],
    ]


def test_a_loss_that_is_not_begun_is_left_out_unless_it_is_a_baseline(tmp_path):
    folder = Records(tmp_path / TABLE.name)
    plain, taught = TABLE.columns
    folder.write(record(student(TABLE.rows[0], 1, taught, taught.settings[0])))
    assert [row[0] for row in lines(report(TABLE, tmp_path), "Test")[2:]] == ["plain loss", "taught loss"]
    folder = Records(tmp_path / "other" / TABLE.name)
    folder.write(record(student(TABLE.rows[0], 1, plain, plain.settings[0])))
    assert [row[0] for row in lines(report(TABLE, tmp_path / "other"), "Test")[2:]] == ["plain loss"]


def test_every_seed_has_p_against_the_baseline_of_its_seed(records, tmp_path):
    fill(records)
    found = lines(report(TABLE, tmp_path), "Every seed")
    assert found[0][5] == "p against plain loss"
    assert found[2] == ["plain loss", "A", "1", "35.10", "34.10–36.10", "", "35.11"]
    wanted = p_value(sentences(0.75, seed=1), sentences(0.6, seed=1))
    assert found[5] == ["taught loss", "A", "1", "36.10", "35.10–37.10", f"{wanted:.4f}", "36.11"]
    assert len(found) == 2 + 6


def test_tuning_marks_the_chosen_one_and_the_edge(records, tmp_path):
    fill(records)
    found = lines(report(TABLE, tmp_path), "Tuning")
    assert found[2] == ["plain loss", "lr 0.3: 30.00", "**lr 1: 31.00**", "lr 0.1: 30.00", "lr (highest)"]
    assert found[3] == ["taught loss", "lr 3: 30.00", "**lr 1: 31.00**", "", "lr (lowest)"]


def test_seconds_a_step_are_beside_the_baseline(records, tmp_path):
    fill(records)
    text = report(TABLE, tmp_path)
    assert lines(text, "Seconds a step")[2:] == [
        ["plain loss", "0.500 (1.0 ×)", "0.500 (1.0 ×)"],
        ["taught loss", "1.000 (2.0 ×)", "1.000 (2.0 ×)"],
    ]
    assert "The machine was shared" in text


def test_averages_are_beside_the_best_checkpoint(records, tmp_path):
    fill(records)
    found = lines(report(TABLE, tmp_path), "Average of the last 2 checkpoints")
    assert found[2][:7] == ["plain loss", "A", "1", "31.00", "31.50", "35.10", "35.60"]
    assert 0 < float(found[2][7]) <= 1


def test_footnotes_list_what_the_figures_hold_for(records, tmp_path):
    fill(records)
    text = report(TABLE, tmp_path)
    for words in ("`lc:13a`", "`none`", "`feed:20`", "`abc`", "`a processor, 2 cores, 1 threads a run, torch 2.0`"):
        assert words in text
    made = records.read("arch_a/seed-1/warm")
    assert made is not None
    records.write(replace(made, machine=replace(MACHINE, gpu="a fast one")))
    assert "1 threads a run, a fast one, torch 2.0`" in report(TABLE, tmp_path)
    records.write(made)
    # 3 warm starts; 5 tuning runs; 2 further seeds or rows of 2 columns; 6 averages.
    assert "records: 18, of which 0 diverged" in text
    assert lines(text, "Warm starts")[2] == ["A", "1", "", "28.00", "6", "a processor"]


def test_an_empty_table_has_no_figures(tmp_path):
    text = report(TABLE, tmp_path)
    assert lines(text, "Test")[2] == ["plain loss", "–", "–"]
    assert lines(text, "Tuning")[2] == ["plain loss", "lr 0.3: –", "lr 1: –", "lr 0.1: –", ""]
    assert not re.search(r"\d\.\d\d", text.replace("0.3", "").replace("0.1", ""))


def test_a_part_of_a_table_says_so(records, tmp_path):
    fill(records, rows=1)
    for name in ("lr-1", "lr-1+average"):
        records.path(f"arch_a/seed-2/taught/{name}").unlink()
    found = lines(report(TABLE, tmp_path), "Test")
    assert found[0] == ["loss", "A", "A, average", "B"]
    assert found[3] == ["taught loss", "36.10 (1 of 2 seeds)", "36.60 (1 of 2 seeds)", "–"]


def test_a_diverged_setting_is_named(records, tmp_path):
    records.write(record(student(TABLE.rows[0], 1, TABLE.columns[0], at(lr=1)), None))
    assert lines(report(TABLE, tmp_path), "Tuning")[2][2] == "lr 1: diverged"


def test_runs_of_another_warm_start_are_marked_and_have_no_p_against_those_of_the_first(records, tmp_path):
    fill(records)
    name = "arch_a/seed-1/taught/lr-1"
    made = records.read(name)
    records.write(replace(made, starts=("arch_a/seed-1/warm+2", "arch_a/seed-1/teacher+2")))
    text = report(TABLE, tmp_path)
    found = {tuple(row[:3]): row[3:] for row in lines(text, "Every seed")[2:]}
    assert found["taught loss", "A", "1"][0] == "36.10†" and found["taught loss", "A", "1"][2] == ""
    assert found["taught loss", "A", "2"][0] == "36.20" and found["taught loss", "A", "2"][2] != ""
    assert "†: from a warm start" in text
    deviation = f"{statistics.stdev([35.1, 35.2]):.2f}"
    assert lines(text, "Test")[3][1:3] == [f"36.15 ± {deviation}†", f"36.65 ± {deviation}†"]
    # A teacher alone leaves the warm start what it was.
    records.write(replace(made, starts=("arch_a/seed-1/teacher+2",)))
    found = {tuple(row[:3]): row[3:] for row in lines(report(TABLE, tmp_path), "Every seed")[2:]}
    assert found["taught loss", "A", "1"][0] == "36.10†" and found["taught loss", "A", "1"][2] != ""
