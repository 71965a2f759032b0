"""States of tasks, patterns of names, and what is refused."""

import fcntl

import pytest

from experiments.logs import DONE, STARTED
from experiments.marks import leave_mark
from experiments.runs import data_task, decoding_task, warm_task
from experiments.table import at
from experiments.workplace import Workplace, is_locked, ready
from fairseq_dlf.core.support.errors import InputError
from tests.experiments.made import TABLE, fill, record, student

# The log of a training with the curve of the made records.
BEGUN, ENDED = f"now | INFO {STARTED}1 devices", f"now | INFO {DONE}1.0 seconds"
VALID = [f"now | INFO | valid | epoch 1 | bleu {bleu} | num_updates {update}" for bleu, update in ((29, 3), (30, 6))]
SAVED = "now | INFO | fairseq.checkpoint_utils | Saved checkpoint checkpoint_best.pt (epoch 1 @ 6 updates, score 30)"
ROW = TABLE.rows[0]
DATA, WARM = data_task(TABLE), warm_task(TABLE, ROW, 1)
STUDENT = student(ROW, 1, TABLE.columns[0], at(lr=0.3))


@pytest.fixture
def place(tmp_path):
    return Workplace(TABLE, tmp_path / "out", tmp_path / "results")


def prepare(place):
    (place.out / "data").mkdir(parents=True)
    (place.out / "data" / "prepare.json").write_text('{"finished": {"learn": {}, "binarise": {}}}')


def recorded(place, task):
    """Write the record of a training, its log and its checkpoint."""
    place.records.write(record(task))
    folder = place.out / task.name
    folder.mkdir(parents=True)
    (folder / "train.log").write_text("\n".join((BEGUN, *VALID, SAVED, ENDED)))
    (folder / "checkpoint_best.pt").touch()


def ready_names(place):
    return [task.name for task in ready(place.pending(place.tasks()))]


def test_states(place):
    assert {place.state(task) for task in place.tasks()} == {"missing", "undecided"}
    prepare(place)
    leave_mark(place.out / WARM.name, WARM.command, "abc")
    (place.out / WARM.name / "train.log").write_text("begun")
    assert (place.state(DATA), place.state(WARM), place.state(STUDENT)) == ("done", "started", "missing")
    with (place.out / WARM.name / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert is_locked(place.out / WARM.name)
        assert place.state(WARM) == "running"
    assert not is_locked(place.out / WARM.name)
    place.records.write(record(WARM))
    assert place.state(WARM) == "done"


def test_test_is_done_once_its_score_is_in_the_record(place):
    task = decoding_task(TABLE, STUDENT)
    place.records.write(record(STUDENT))
    assert place.state(task) == "missing"
    place.records.write(record(STUDENT, test=33.0))
    assert place.state(task) == "done"


def test_ready_is_what_has_all_it_needs(place):
    assert ready_names(place) == ["data"]
    prepare(place)
    assert ready_names(place) == [
        "arch_a/seed-1/warm",
        "arch_a/seed-2/warm",
        "arch_b/seed-5/warm",
    ]
    recorded(place, WARM)
    assert ready_names(place)[:3] == [
        "arch_a/seed-1/plain/lr-0.3",
        "arch_a/seed-1/teacher",
        "arch_a/seed-1/plain/lr-1",
    ]


def test_a_training_is_lost_without_its_checkpoint_or_before_it_is_made_again(place):
    place.records.write(record(WARM))
    assert place.lost(WARM)
    recorded(place, WARM)
    recorded(place, STUDENT)
    logs = [place.out / task.name / "train.log" for task in (WARM, STUDENT)]
    assert not place.lost(decoding_task(TABLE, STUDENT))
    # A student's last checkpoints may be needed, those of warm starts are not.
    states = []
    for lines in ((BEGUN, VALID[0]), (BEGUN, *VALID), (BEGUN, *VALID, SAVED), (BEGUN, *VALID, SAVED, ENDED)):
        for log in logs:
            log.write_text("\n".join(lines))
        states.append((place.lost(WARM), place.lost(STUDENT)))
    assert states == [(True, True), (True, True), (False, True), (False, False)]
    logs[0].write_text(logs[0].read_text().replace("bleu 29", "bleu 29.1"))
    assert place.lost(WARM)
    (place.out / STUDENT.name / "checkpoint_best.pt").unlink()
    assert place.lost(STUDENT)


def test_what_is_lost_is_pending_only_for_what_needs_it(place):
    prepare(place)
    fill(place.records)
    teachers = [f"{folder}/teacher" for folder in ("arch_a/seed-1", "arch_a/seed-2", "arch_b/seed-5")]
    pending = [task.name for task in place.pending(place.tasks())]
    assert pending == [name for teacher in teachers for name in (teacher.replace("teacher", "warm"), teacher)]
    # The decoding of a student needs the student, which needs its warm start.
    task = student(ROW, 2, TABLE.columns[0], at(lr=1))
    place.records.write(record(task, 31.0))
    some = Workplace(TABLE, place.out, place.results, only=("arch_a/seed-2/plain/*",))
    assert [task.name for task in some.pending(some.tasks())] == ["arch_a/seed-2/warm", task.name, task.name + "+test"]


def test_patterns_bring_what_they_need(place):
    some = Workplace(TABLE, place.out, place.results, only=("arch_a/seed-1/taught/lr-1", "arch_b/seed-5/w*"))
    assert [task.name for task in some.tasks()] == [
        "data",
        "arch_a/seed-1/warm",
        "arch_a/seed-1/teacher",
        "arch_a/seed-1/taught/lr-1",
        "arch_b/seed-5/warm",
    ]
    with pytest.raises(InputError, match="no run matches 'lstm/"):
        Workplace(TABLE, place.out, place.results, only=("lstm/*",)).tasks()


def test_a_whole_table_is_done(place):
    prepare(place)
    fill(place.records)
    done = {task.name for task in place.tasks() if place.state(task) == "done"}
    assert {task.name for task in place.tasks()} - done == {
        f"{folder}/teacher" for folder in ("arch_a/seed-1", "arch_a/seed-2", "arch_b/seed-5")
    }


# Refusals -------------------------------------------------------------------------


def test_a_record_of_another_command_is_refused_with_both(place):
    other = student(ROW, 1, TABLE.columns[0], at(lr=1))
    made = record(other)
    place.records.write(record(STUDENT).__class__(**{**vars(made), "run": STUDENT.name}))
    assert place.state(STUDENT) == "refused"
    with pytest.raises(InputError) as caught:
        place.require_declared(place.tasks())
    for words in ("made by another command", other.command, STUDENT.command, "it has", "delete", "lr-0.3.json"):
        assert words in caught.value.text


def test_an_output_of_another_decoding_is_refused(place):
    written = record(STUDENT, test=30.0)
    assert written.test is not None
    test = written.test.__class__(**{**vars(written.test), "command": "fairseq-generate --beam 9"})
    place.records.write(written.__class__(**{**vars(written), "test": test}))
    assert place.state(STUDENT) == "done"
    assert place.state(decoding_task(TABLE, STUDENT)) == "refused"


def test_a_folder_that_another_command_began_is_refused(place):
    leave_mark(place.out / WARM.name, WARM.command.replace("--max-epoch 2", "--max-epoch 9"), "abc")
    assert place.state(WARM) == "refused"
    with pytest.raises(InputError, match=r"it has 9, wanted 2 .*delete its folder"):
        place.require_declared([WARM])


def test_a_folder_that_something_else_began_is_held_to_its_log(place):
    folder = place.out / WARM.name
    folder.mkdir(parents=True)
    logged = "{'model': Namespace(arch='arch_a', seed=1, max_epoch=%d, eval_bleu=True)}"
    for epochs, state in ((2, "started"), (9, "refused")):
        (folder / "train.log").write_text(f"now | INFO | fairseq_cli.train | {logged % epochs}")
        assert place.state(WARM) == state


def test_several_refusals_are_counted(place):
    for seed in (1, 2):
        task = warm_task(TABLE, ROW, seed)
        leave_mark(place.out / task.name, "other", "abc")
    with pytest.raises(InputError, match="1 more: see the status"):
        place.require_declared(place.tasks())


def test_commits_of_a_continued_run_are_all_kept(place):
    from experiments.marks import read_mark

    folder = place.out / WARM.name
    for commit in ("a", "b", "a"):
        leave_mark(folder, WARM.command, commit)
    mark = read_mark(folder)
    assert mark is not None
    assert mark.commits == ("a", "b")
    assert read_mark(place.out) is None
