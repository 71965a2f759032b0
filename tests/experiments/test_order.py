"""The order of a table's work, before, during and after tuning."""

from dataclasses import replace

from experiments.order import ordered
from experiments.table import Column, at
from tests.experiments.made import TABLE

FIRST = "arch_a/seed-1"


def names(**chosen):
    return [task.name for task in ordered(TABLE, lambda column: chosen.get(column.name))]


def test_before_tuning_every_column_runs_at_its_default_first():
    assert names() == [
        "data",
        f"{FIRST}/warm",
        f"{FIRST}/plain/lr-0.3",
        f"{FIRST}/teacher",
        f"{FIRST}/taught/lr-3",
        f"{FIRST}/plain/lr-1",
        f"{FIRST}/plain/lr-0.1",
        f"{FIRST}/plain/…",
        f"{FIRST}/taught/lr-1",
        f"{FIRST}/taught/…",
        "arch_a/seed-2/warm",
        "arch_a/seed-2/plain/…",
        "arch_a/seed-2/taught/…",
        "arch_b/seed-5/warm",
        "arch_b/seed-5/plain/…",
        "arch_b/seed-5/taught/…",
    ]


def test_a_decided_column_is_decoded_and_goes_to_other_seeds_and_rows():
    found = names(taught=at(lr=1))
    after = found[found.index(f"{FIRST}/taught/lr-1") :]
    assert after == [
        f"{FIRST}/taught/lr-1",
        f"{FIRST}/taught/lr-1+test",
        f"{FIRST}/taught/lr-1+average",
        "arch_a/seed-2/warm",
        "arch_a/seed-2/plain/…",
        "arch_a/seed-2/teacher",
        "arch_a/seed-2/taught/lr-1",
        "arch_a/seed-2/taught/lr-1+test",
        "arch_a/seed-2/taught/lr-1+average",
        "arch_b/seed-5/warm",
        "arch_b/seed-5/plain/…",
        "arch_b/seed-5/teacher",
        "arch_b/seed-5/taught/lr-1",
        "arch_b/seed-5/taught/lr-1+test",
        "arch_b/seed-5/taught/lr-1+average",
    ]


def test_a_column_may_be_for_the_first_seed_alone():
    plain, taught = TABLE.columns
    table = replace(TABLE, columns=(plain, replace(taught, once=True)))
    found = [task.name for task in ordered(table, lambda column: at(lr=1))]
    assert f"{FIRST}/taught/lr-1+average" in found
    assert [name for name in found if "seed-1" not in name and name != "data"] == [
        f"{folder}/{what}"
        for folder in ("arch_a/seed-2", "arch_b/seed-5")
        for what in ("warm", "plain/lr-1", "plain/lr-1+test", "plain/lr-1+average")
    ]
    assert [table.seeds(row, table.columns[1]) for row in table.rows] == [(1,), ()]


def test_only_chosen_settings_are_decoded():
    decoded = [name for name in names(plain=at(lr=1), taught=at(lr=3)) if "+" in name]
    assert {name.split("/")[-1].split("+")[0] for name in decoded if "plain" in name} == {"lr-1"}
    assert {name.split("/")[-1].split("+")[0] for name in decoded if "taught" in name} == {"lr-3"}
    assert len(decoded) == 2 * 2 * 3


def test_every_need_comes_before():
    done = set()
    for task in ordered(TABLE, lambda column: at(lr=1)):
        assert done.issuperset(task.needs), task.name
        done.add(task.name)
    assert len(done) == len(names(plain=at(lr=1), taught=at(lr=1)))


def test_a_column_of_its_own_start_begins_with_it():
    own = Column("alone", "its own", ("--criterion", "c"), (at(lr=1), at(lr=2)), warm=("--label-smoothing", "0"))
    table = replace(TABLE, rows=TABLE.rows[:1], columns=(*TABLE.columns, own))
    tasks = list(ordered(table, lambda column: at(lr=2) if column == own else None))
    found = [task.name for task in tasks if "alone" in task.name or task.name.endswith("warm")]
    second = "arch_a/seed-2"
    assert found == [
        f"{FIRST}/warm",
        f"{FIRST}/warm-alone",
        *(f"{FIRST}/alone/{name}" for name in ("lr-1", "lr-2", "lr-2+test", "lr-2+average")),
        f"{second}/warm",
        f"{second}/warm-alone",
        *(f"{second}/alone/{name}" for name in ("lr-2", "lr-2+test", "lr-2+average")),
    ]
    by_name = {task.name: task for task in tasks}
    start, student = by_name[f"{FIRST}/warm-alone"], by_name[f"{FIRST}/alone/lr-1"]
    # Of an option that is given twice, the last one counts.
    assert (
        "--max-epoch 2 --label-smoothing 0 " in start.command and f"--save-dir OUT/{FIRST}/warm-alone " in start.command
    )
    assert student.needs == (start.name,)
    assert f"--finetune-from-model OUT/{FIRST}/warm-alone/checkpoint_best.pt" in student.command


def test_fresh_students_need_no_start_but_their_teacher_does():
    found = [task.name for task in ordered(replace(TABLE, fresh=True), lambda column: None)]
    assert found[:5] == ["data", f"{FIRST}/plain/lr-0.3", f"{FIRST}/warm", f"{FIRST}/teacher", f"{FIRST}/taught/lr-3"]
    assert "arch_a/seed-2/warm" not in found
