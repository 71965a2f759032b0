"""Declarations: names, options, mistakes."""

import dataclasses

import pytest

from experiments.few_data import lasting
from experiments.low3000 import TABLE as FEW
from experiments.low6000 import TABLE as MORE
from experiments.noisy6000 import TABLE as NOISY
from experiments.runs import student_task, teacher_task
from experiments.table import at
from experiments.table3 import TABLE
from fairseq_dlf.core.support.errors import InputError
from tests.experiments import made


@pytest.mark.parametrize(
    "setting, name, title, options",
    [
        (at(lr=0.3), "lr-0.3", "lr 0.3", ("--lr", "0.3")),
        (
            at(label_smoothing=0.1, lr=1),
            "label-smoothing-0.1_lr-1",
            "label smoothing 0.1, lr 1",
            ("--label-smoothing", "0.1", "--lr", "1"),
        ),
        (
            at(baseline="self", lr=1e-4),
            "baseline-self_lr-0.0001",
            "baseline self, lr 0.0001",
            ("--baseline", "self", "--lr", "0.0001"),
        ),
        (at(best_only="on"), "best-only-on", "best only on", ("--best-only",)),
        (at(best_only="off", lr=2), "best-only-off_lr-2", "best only off, lr 2", ("--lr", "2")),
    ],
)
def test_settings(setting, name, title, options):
    assert (setting.name, setting.title) == (name, title)
    assert setting.options == options


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"columns": made.TABLE.columns[:1] * 2}, "two of the column plain"),
        ({"rows": made.TABLE.rows[:1] * 2}, "two of the row arch_a"),
        ({"rows": ()}, "no row"),
        ({"baselines": ("nothing",)}, "no column 'nothing': choose from plain, taught"),
        (
            {"columns": (dataclasses.replace(made.TABLE.columns[0], settings=(at(lr=1), at(lr=1.0))),)},
            "two of the setting of plain lr-1",
        ),
    ],
)
def test_mistakes_in_a_declaration_are_named(changes, words):
    with pytest.raises(InputError, match=words):
        dataclasses.replace(made.TABLE, **changes)


def test_table3_tries_at_least_four_settings_of_every_loss():
    assert min(len(column.settings) for column in TABLE.columns) == 4
    assert [row.seeds for row in TABLE.rows] == [(1, 2, 3), (1,), (1,)]
    assert [column.name for column in TABLE.columns if column.needs_teacher] == ["taught"]


def test_the_table_of_few_data_starts_from_new_weights():
    assert FEW.fresh and FEW.rows[0].seeds == (1, 2, 3)
    column = FEW.column("falling")
    task = student_task(FEW, FEW.rows[0], 2, column, column.settings[0])
    assert "--finetune-from-model" not in task.command and task.needs == ("data",)
    assert "--label-smoothing 0.9 --label-smoothing-end 0.1 --lr 0.003" in task.command
    taught = student_task(FEW, FEW.rows[0], 2, FEW.column("taught"), at(lr=0.003))
    assert taught.needs == ("data", "lstm_dlf_1/seed-2/teacher")
    long = FEW.column("taught_long")
    assert student_task(FEW, FEW.rows[0], 2, long, at(lr=0.003)).needs[1] == "lstm_dlf_1/seed-2/teacher-taught_long"
    own = teacher_task(FEW, FEW.rows[0], 2, long)
    assert own.name == "lstm_dlf_1/seed-2/teacher-taught_long" and own.command.endswith(" ".join(long.teacher))
    assert f"--student-steps {16 * 47} " in teacher_task(FEW, FEW.rows[0], 2).command
    tail = student_task(TABLE, TABLE.rows[0], 1, TABLE.columns[0], TABLE.columns[0].settings[0])
    assert "--finetune-from-model OUT/lstm_dlf_1/seed-1/warm/checkpoint_best.pt" in tail.command


def test_the_length_of_a_run_is_in_epochs_of_its_own_batches():
    assert lasting(48, 47)[:4] == ("--batch-size", "64", "--max-update", str(48 * 47 + 8))
    assert lasting(48, 47, batch=16)[:4] == ("--batch-size", "16", "--max-update", str(4 * 48 * 47 + 8))
    for epochs, batch, batches in ((48, 64, 47), (16, 64, 47), (96, 64, 47), (48, 16, 188), (48, 64, 94)):
        given = lasting(epochs, batches * batch // 64, batch)
        updates, interval = int(given[3]), int(given[-1])
        # Whole intervals, so that the end is a validation, and none that ends with an epoch.
        assert updates == 8 * interval and updates // batches == epochs
        assert all(place * interval % batches for place in range(1, 9))


def test_what_a_setting_tunes_is_not_said_again_for_all_students():
    for table in (FEW, NOISY):
        for column in table.columns:
            for setting in column.settings:
                tuned = {word for word in setting.options if word.startswith("--")}
                assert not tuned & set((*table.student, *column.instead)), (column.name, setting.name)


def test_a_row_may_have_another_name_than_its_architecture():
    small, large = (student_task(MORE, row, 1, MORE.column("usual"), at(lr=0.003)) for row in MORE.rows)
    assert (small.name, large.name) == ("lstm_128/seed-1/usual/lr-0.003", "lstm_dlf_1/seed-1/usual/lr-0.003")
    assert "--arch lstm_dlf_1 --encoder-embed-dim 128" in small.command and "--encoder-embed-dim" not in large.command
