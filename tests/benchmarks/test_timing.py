"""Figures are summed up, interleaved and written as the benchmarks' README says."""

import json

import pytest

from benchmarks import timing


def test_a_figure_is_the_median_and_half_the_interquartile_range():
    assert timing.figure([1.0, 2.0, 3.0, 4.0, 100.0]) == timing.Figure(3.0, 1.0, 5)
    assert timing.figure([2.0]) == timing.Figure(2.0, 0.0, 1)


def test_ratios_are_taken_within_each_repeat():
    found = timing.ratios({"plain": [1.0, 2.0, 4.0], "ours": [3.0, 8.0, 12.0]}, "plain")
    assert found == {"ours": timing.Figure(3.0, 0.25, 3)}


def test_runs_take_turns_and_rotate(tmp_path):
    log = tmp_path / "log"

    def note(text):
        with log.open("a") as file:
            file.write(text)

    runs = {name: lambda name=name: note(name) for name in "abc"}
    warm_up = {name: lambda: note("w") for name in "abc"}
    seconds = timing.interleaved(runs, 3, warm_up)
    assert log.read_text() == "wwwabcbcacab"
    assert all(len(values) == 3 and min(values) >= 0 for values in seconds.values())


def test_a_run_that_fails_ends_the_measurement():
    with pytest.raises(RuntimeError, match="printed above"):
        timing.interleaved({"a": lambda: 1 / 0}, 1)


def test_the_commit_and_the_machine_are_written_without_names_and_paths(tmp_path):
    found = timing.circumstances()
    timing.write_json(tmp_path / "out" / "x.json", found)
    assert json.loads((tmp_path / "out" / "x.json").read_text()) == found
    assert set(found["machine"]) == {"cpu", "cores", "memory_gib", "threads"}
    assert str(timing.ROOT) not in json.dumps(found)
