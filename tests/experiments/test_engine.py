"""The work on a table, with programs that stand in for fairseq's: order, records, failures, interruptions."""

import fcntl
import json
import shutil
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("fairseq")

from experiments import circumstances, engine, processes  # noqa: E402
from experiments.engine import Engine  # noqa: E402
from experiments.recording import Recorder  # noqa: E402
from experiments.records import Data  # noqa: E402
from experiments.runs import resolved, warm_task  # noqa: E402
from experiments.workplace import Workplace  # noqa: E402
from fairseq_dlf.core.support.errors import InputError, StateError  # noqa: E402
from tests.experiments.made import TABLE  # noqa: E402

STAND_IN = str(Path(__file__).with_name("stand_in.py"))
FIRST = "arch_a/seed-1"


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch):
    monkeypatch.setattr(processes, "resolved", lambda *given: [sys.executable, STAND_IN, *resolved(*given)])
    monkeypatch.setattr(circumstances, "data", lambda folder: Data("feed", 20))
    monkeypatch.setattr(engine, "POLL_S", 0.02)
    monkeypatch.setattr(engine, "LOOK_S", 0.2)


@pytest.fixture
def place(tmp_path):
    return Workplace(TABLE, tmp_path / "out", tmp_path / "results", tmp_path)


def work(place, jobs=3):
    """Work on a table; return what was said."""
    said: list[str] = []
    Engine(place, Recorder(place, "abc", 1), jobs, said.append).work()
    return said


def begun(said):
    return [line.split()[1] for line in said if line.startswith("begins")]


def wish(place, name, what):
    path = place.out / f"{name}.{what}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def log_of(place, name):
    path = place.out / FIRST / name / "train.log"
    return path.read_text() if path.is_file() else ""


@contextmanager
def interrupted_when(words, place, name, monkeypatch):
    """Expect an interruption as soon as the log of a run has these words."""

    def interrupt(seconds):
        if words in log_of(place, name):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(time, "sleep", interrupt)
        yield


def only(place, *patterns):
    return Workplace(TABLE, place.out, place.results, place.raw, patterns)


def test_a_table_is_done_in_order_and_never_twice(place):
    said = work(place, jobs=1)
    names = begun(said)
    assert names[:5] == ["data", f"{FIRST}/warm", f"{FIRST}/plain/lr-0.3", f"{FIRST}/teacher", f"{FIRST}/taught/lr-3"]
    # The stand-in's dev BLEU rises with the rate.
    assert names[5:10] == [
        f"{FIRST}/plain/lr-1",
        f"{FIRST}/plain/lr-0.1",
        f"{FIRST}/plain/lr-1+test",
        f"{FIRST}/plain/lr-1+average",
        f"{FIRST}/taught/lr-1",
    ]
    assert {place.state(task) for task in place.tasks()} == {"done"}
    assert begun(work(place)) == []


def test_records_hold_what_the_logs_and_outputs_tell(place):
    work(only(place, f"{FIRST}/plain/*"))
    record = place.records.read(f"{FIRST}/plain/lr-1")
    assert (record.best_bleu, record.best_update, record.seed, record.setting) == (31.6, 6, 1, {"lr": 1})
    assert (record.commit, record.step_s, record.wall_s, record.diverged) == ("abc", 0.5, 6.0, False)
    assert (record.test.sentences, record.test.bleu) == (3, pytest.approx(100))
    assert place.records.statistics(record.run).shape == (3, 10)
    average = place.records.read(f"{FIRST}/plain/lr-1+average")
    assert (average.best_bleu, average.best_update, average.test.bleu) == (37.56, 6, pytest.approx(100))
    assert "dlf-average" in average.command
    for path in place.results.rglob("*.json"):
        text = path.read_text()
        assert "green grass" not in text
        assert str(place.out.parent) not in text


def test_only_the_chosen_setting_is_decoded_and_keeps_a_checkpoint(place):
    work(only(place, f"{FIRST}/plain/*"))
    decoded = {path.parent.name for path in place.out.rglob("test.txt") if FIRST in str(path) and "plain" in str(path)}
    assert decoded == {"lr-1"}
    left = {path.relative_to(place.out / FIRST / "plain") for path in (place.out / FIRST / "plain").rglob("*.pt")}
    assert left == {Path("lr-1/checkpoint_best.pt")}


def test_a_failure_is_named_and_stops_only_what_needs_it(place):
    wish(place, f"{FIRST}/teacher", "fails")
    with pytest.raises(StateError, match=r"1 of the runs failed \(arch_a/seed-1/teacher\)"):
        work(only(place, f"{FIRST}/*"))
    done = {task.name for task in place.tasks() if place.done(task)}
    assert f"{FIRST}/plain/lr-1+average" in done
    assert not any("taught" in name for name in done)
    (place.out / f"{FIRST}/teacher.fails").unlink()
    assert begun(work(only(place, f"{FIRST}/teacher"))) == [f"{FIRST}/teacher"]


def test_a_diverged_setting_is_recorded_and_not_chosen(place):
    wish(place, f"{FIRST}/plain/lr-1", "diverges")
    work(only(place, f"{FIRST}/plain/*"))
    record = place.records.read(f"{FIRST}/plain/lr-1")
    assert (record.diverged, record.best_update) == (True, 3)
    assert place.chosen(TABLE.columns[0]).values == (("lr", 0.3),)


def test_an_interruption_stops_the_processes_and_the_same_command_goes_on(place, monkeypatch):
    waiting = wish(place, f"{FIRST}/warm", "waits")
    some = only(place, f"{FIRST}/warm")
    with interrupted_when("num_updates", place, "warm", monkeypatch):
        work(some)
    waiting.unlink()
    assert place.records.read(f"{FIRST}/warm") is None
    assert begun(work(some)) == [f"{FIRST}/warm"]


def test_a_training_that_another_process_makes_is_waited_for_and_taken_over(place):
    folder = place.out / FIRST / "warm"
    folder.mkdir(parents=True)
    said: list[str] = []
    lock = (folder / "lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)

    def finish():
        while not any("waits for" in line for line in said):
            time.sleep(0.02)
        options = "{'model': Namespace(arch='arch_a', seed=1, max_epoch=2, eval_bleu=True)}"
        (folder / "train.log").write_text(
            f"now | INFO | fairseq_cli.train | {options}\n"
            "now | INFO | fairseq_cli.train | training on 1 devices\n"
            "now | INFO | valid | epoch 002 | valid on 'valid' subset | loss 3.9 | bleu 33.5 | num_updates 554\n"
            "now | INFO | fairseq_cli.train | done training in 20.0 seconds\n"
        )
        lock.close()

    other = threading.Thread(target=finish)
    other.start()
    place_of_one = only(place, f"{FIRST}/warm")
    Engine(place_of_one, Recorder(place_of_one, "abc", 1), 2, said.append).work()
    other.join()
    record = place.records.read(f"{FIRST}/warm")
    assert (record.best_bleu, record.best_update, record.commit) == (33.5, 554, "unknown")
    assert begun(said) == ["data"]


def test_a_changed_declaration_is_refused_before_anything_starts(place):
    work(only(place, f"{FIRST}/warm"))
    path = place.records.path(f"{FIRST}/warm")
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "command": content["command"] + " --more"}))
    with pytest.raises(InputError, match=r"made by another command .* it has --more, wanted nothing more"):
        work(place)
    assert begun(work(only(place, "arch_b/seed-5/warm"))) == ["arch_b/seed-5/warm"]


def lose(place):
    """Leave only the records, as on another machine, of which one lacks its score on test."""
    path = place.records.path(f"{FIRST}/plain/lr-1")
    path.write_text(json.dumps({**json.loads(path.read_text()), "test": None}))
    for folder in ("warm", "plain"):
        shutil.rmtree(place.out / FIRST / folder)


@pytest.fixture
def lost(place):
    """One column of the table, done and lost."""
    some = only(place, f"{FIRST}/plain/*")
    work(some)
    lose(place)
    return some


def test_what_is_left_needs_lost_checkpoints_which_are_made_again(place):
    some = only(place, f"{FIRST}/plain/*")
    work(some)
    before = {path: path.read_text() for path in place.results.rglob("*.json")}
    lose(place)
    said = work(some, jobs=1)
    assert begun(said) == [f"{FIRST}/warm", f"{FIRST}/plain/lr-1", f"{FIRST}/plain/lr-1+test"]
    assert sum("again, since its checkpoints are gone" in line for line in said) == 2
    assert {path: path.read_text() for path in place.results.rglob("*.json")} == before


def test_a_deleted_checkpoint_is_made_again_beside_a_finished_log(place, lost):
    work(lost)
    (place.out / FIRST / "plain/lr-1/checkpoint_best.pt").unlink()
    place.records.path(f"{FIRST}/plain/lr-1+average").unlink()
    assert begun(work(lost, jobs=1)) == [f"{FIRST}/plain/lr-1", f"{FIRST}/plain/lr-1+average"]


def test_a_warm_start_that_comes_out_as_another_is_recorded_beside_the_first(place, lost):
    path = place.records.path(f"{FIRST}/warm")
    path.write_text(path.read_text().replace("31.3", "31.4"))
    first = path.read_text()
    for mark in ("", "+average"):
        place.records.path(f"{FIRST}/plain/lr-1{mark}").unlink()
    said = work(lost, jobs=1)
    assert begun(said) == [f"{FIRST}/warm", *(f"{FIRST}/plain/lr-1{mark}" for mark in ("", "+test", "+average"))]
    assert path.read_text() == first
    versions = place.records.versions(f"{FIRST}/warm")
    assert [(each.run, each.curve[0].bleu) for each in versions] == [(f"{FIRST}/warm", 31.4), (f"{FIRST}/warm+2", 31.3)]
    for mark in ("", "+average"):
        made = place.records.read(f"{FIRST}/plain/lr-1{mark}")
        assert made.starts == (f"{FIRST}/warm+2",) and made.warm_start == f"{FIRST}/warm+2"
    assert place.records.read(f"{FIRST}/plain/lr-0.3").starts == ()
    # Once more: it is known by now.
    shutil.rmtree(place.out / FIRST / "warm")
    shutil.rmtree(place.out / FIRST / "plain")
    place.records.path(f"{FIRST}/plain/lr-1").unlink()
    work(lost, jobs=1)
    assert len(place.records.versions(f"{FIRST}/warm")) == 2


def test_a_warm_start_that_ended_as_another_before_it_was_recorded_is_not_made_once_more(place, lost):
    work(lost)
    path = place.records.path(f"{FIRST}/warm")
    path.write_text(path.read_text().replace("31.3", "31.4"))
    place.records.path(f"{FIRST}/plain/lr-1").unlink()
    shutil.rmtree(place.out / FIRST / "plain")
    assert f"{FIRST}/warm" not in begun(work(lost, jobs=1))
    assert place.records.read(f"{FIRST}/plain/lr-1").starts == (f"{FIRST}/warm+2",)


def test_a_student_that_comes_out_as_another_is_refused(place, lost):
    path = place.records.path(f"{FIRST}/plain/lr-1")
    path.write_text(path.read_text().replace("31.3", "31.4"))
    before = path.read_text()
    said: list[str] = []
    with pytest.raises(StateError, match=f"{FIRST}/plain/lr-1"):
        Engine(lost, Recorder(place, "abc", 1), 1, said.append).work()
    (failed,) = [line for line in said if line.startswith("FAILED")]
    for words in ("not the one of its record", "31.4 at 3", "31.3 at 3", "delete its record"):
        assert words in failed
    assert path.read_text() == before


def test_a_lost_warm_start_is_trained_as_far_as_its_best_checkpoint(place, lost):
    path = place.records.path(f"{FIRST}/warm")
    path.write_text(path.read_text().replace('"best_update": 6', '"best_update": 3'))
    wish(place, f"{FIRST}/warm", "waits")
    said = work(lost, jobs=1)
    assert any(line.startswith(f"ends {FIRST}/warm:") and "at its best checkpoint" in line for line in said)
    assert begun(said) == [f"{FIRST}/warm", f"{FIRST}/plain/lr-1", f"{FIRST}/plain/lr-1+test"]


def test_a_lost_training_that_is_stopped_half_way_is_not_taken_for_whole(place, lost, monkeypatch):
    waiting = wish(place, f"{FIRST}/warm", "waits")
    with interrupted_when("Saved checkpoint", place, "warm", monkeypatch):
        work(lost)
    waiting.unlink()
    assert begun(work(lost, jobs=1))[0] == f"{FIRST}/warm"
    assert "continues at 3" in log_of(place, "warm")


def test_a_training_that_ended_before_its_record_was_written_is_recorded(place):
    work(only(place, f"{FIRST}/warm"))
    before = place.records.read(f"{FIRST}/warm")
    place.records.path(f"{FIRST}/warm").unlink()
    said = work(only(place, f"{FIRST}/warm"))
    assert begun(said) == []
    assert "ended before" in said[-1]
    assert place.records.read(f"{FIRST}/warm") == before
    assert warm_task(TABLE, TABLE.rows[0], 1).command == before.command
