"""Figures are summed up, interleaved and written as the benchmarks' README says."""

import json
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import episode, expected_bleu, measure, memory, peak, whole_run
from benchmarks import error as error_benchmark


def test_a_figure_is_the_median_and_half_the_interquartile_range():
    assert measure.figure([1.0, 2.0, 3.0, 4.0, 100.0]) == measure.Figure(3.0, 1.0, 5)
    assert measure.figure([2.0]) == measure.Figure(2.0, 0.0, 1)


def test_ratios_are_taken_within_each_repeat():
    found = measure.ratios({"plain": [1.0, 2.0, 4.0], "ours": [3.0, 8.0, 12.0]}, "plain")
    assert found == {"ours": measure.Figure(3.0, 0.25, 3)}


def test_runs_take_turns_and_rotate(tmp_path):
    log = tmp_path / "log"

    def note(text):
        with log.open("a") as file:
            file.write(text)

    runs = {name: lambda name=name: note(name) for name in "abc"}
    warm_up = {name: lambda: note("w") for name in "abc"}
    seconds = measure.interleaved(runs, 3, warm_up)
    assert log.read_text() == "wwwabcbcacab"
    assert all(len(values) == 3 and min(values) >= 0 for values in seconds.values())


def test_a_run_that_fails_ends_the_measurement():
    with pytest.raises(RuntimeError, match="printed above"):
        measure.interleaved({"a": lambda: 1 / 0}, 1)


def block_job(mib):
    """A job that holds so much for a moment."""
    return lambda: len(b"x" * (mib * 2**20))


def test_the_peak_is_what_a_job_adds(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    assert peak.peak_mib(f"{__name__}:block_job", mib=300) == pytest.approx(300, abs=3)


def test_a_job_that_fails_says_why():
    with pytest.raises(RuntimeError, match="KeyError: 'nobody'"):
        peak.peak_mib(memory.JOB, student="nobody", size="small", method="autograd", steps=1)


def test_the_commit_and_the_machine_are_written_without_names_and_paths(tmp_path):
    found = measure.circumstances()
    measure.write_json(tmp_path / "out" / "x.json", found)
    assert json.loads((tmp_path / "out" / "x.json").read_text()) == found
    assert set(found["machine"]) == {"cpu", "cores", "memory_gib", "threads"}
    assert str(measure.ROOT) not in json.dumps(found)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "no benchmark 'nothing'; choose from episode"),
        (["episode", "--students", "nobody"], "no student 'nobody'; choose from lstm"),
        (["episode", "--steps", "0"], "'0' is no positive whole number"),
        (["episode", "--mnist", "."], "--mnist means nothing to episode"),
    ],
)
def test_the_command_refuses_what_it_does_not_know(arguments, message, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["benchmarks", *arguments])
    with pytest.raises(SystemExit):
        command.main()
    assert message in capsys.readouterr().err


def test_mnist_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="train-images-idx3-ubyte.gz"):
        whole_run.run(True, mnist=str(tmp_path))


def test_a_short_error_and_a_short_whole_run_fill_their_tables(monkeypatch):
    monkeypatch.setattr(whole_run, "peak_mib", lambda job, **arguments: 1.0)
    for module, options in ((error_benchmark, {"students": ["mlp"]}), (whole_run, {"repeats": 1})):
        lines = module.table(module.run(True, steps=[2], **options)).splitlines()
        assert len(lines) == 3
        assert len({line.count("|") for line in lines}) == 1


def test_a_short_episode_fills_its_table(monkeypatch):
    monkeypatch.setattr(memory, "expected_peer_mib", lambda student, size, steps: 4096.0 * steps)
    result = episode.run(True, students=["mlp"], steps=[1, 2], repeats=1)
    first, second = episode.table(result).splitlines()[2:]
    assert "left out" not in first.split("|")[7]
    assert "left out: about 8 GiB" in second


def test_expected_bleu_fills_its_table(monkeypatch):
    monkeypatch.setattr(expected_bleu, "build_translation", small_translation)
    lines = expected_bleu.table(expected_bleu.run(True, repeats=1)).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == [
        "| generation",
        "| BLEU",
        "| scores with gradient",
        "| whole measure",
    ]


def small_translation(arch, size):
    from benchmarks.students import build_translation

    return build_translation(arch, "small")
