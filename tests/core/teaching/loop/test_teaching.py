"""The loop over teacher steps, with a student of two numbers: learning, the best teacher, collapses, resuming."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch

from fairseq_dlf.core.files.replacement import replacing
from fairseq_dlf.core.files.run_folder import STATE_NAME
from fairseq_dlf.core.hypergradient.episode import EpisodePlan
from fairseq_dlf.core.support.signature import Signature
from fairseq_dlf.core.teaching.estimators import Reverse
from fairseq_dlf.core.teaching.loop import saved as state_of_a_run
from fairseq_dlf.core.teaching.loop import steps as loop_over_steps
from fairseq_dlf.core.teaching.loop.collapse import CollapsedError
from fairseq_dlf.core.teaching.loop.journal import LOG_NAME, append_step, read_steps
from fairseq_dlf.core.teaching.loop.steps import BEST_NAME, LAST_NAME, TeachingPlan
from fairseq_dlf.core.teaching.loop.teaching import Teaching
from fairseq_dlf.core.teaching.teacher_file import read_teacher
from fairseq_dlf.core.teaching.teachers import AttentionTeacher
from tests.core.teaching.toy import ToySchool

PLAN = TeachingPlan(steps=4, rate=0.05, validate_every=2, collapse_share=0.5)
SIGNATURE = Signature.of("toy", {"rate": 0.05})


def teaching_in(folder, school=None, signature=SIGNATURE, **changes):
    torch.manual_seed(2)
    teacher = AttentionTeacher(torch.ones(2, 3), 3 * torch.randn(3, 2))
    plan = dataclasses.replace(PLAN, **changes)
    return Teaching(school or ToySchool(), teacher, Reverse(EpisodePlan(7)), plan, signature, folder)


def taught(folder, *given, **changes):
    made = teaching_in(folder, *given, **changes)
    made.run()
    return made


def rows_of(folder):
    return [dataclasses.replace(row, elapsed_s=0.0) for row in read_steps(folder / LOG_NAME)]


def digest(folder, name=BEST_NAME):
    return read_teacher(folder / name, "diagonal", "").digest


def test_the_teacher_learns(tmp_path):
    made = taught(tmp_path, steps=30, validate_every=30)
    untaught, last = (row.dev_accuracy for row in read_steps(tmp_path / LOG_NAME) if row.dev_accuracy is not None)
    assert last > untaught + 0.01
    assert (made.best_step, made.best_value) == (30, last)


def test_nothing_is_read_or_written_before_it_runs(tmp_path):
    (tmp_path / "other").mkdir()
    for name in (STATE_NAME, LOG_NAME):
        (tmp_path / "other" / name).write_text("no such thing")
    for folder in (tmp_path / "new", tmp_path / "other"):
        teaching_in(folder)
    assert not (tmp_path / "new").exists()
    assert {path.read_text() for path in (tmp_path / "other").iterdir()} == {"no such thing"}


def test_the_log_says_what_each_step_did(tmp_path):
    made = taught(tmp_path)
    rows = rows_of(tmp_path)
    assert [row.step for row in rows] == [0, 1, 2, 3, 4]
    assert [row.dev_accuracy is not None for row in rows] == [True, False, True, False, True]
    assert rows[0].measure_before is None and rows[0].dtheta_norm == rows[0].gradient_norm == 0.0
    assert rows[0].dphi_norm == rows[0].leverage == rows[0].cotangent_growth == 0.0
    for row in rows[1:]:
        assert row.measure_before == pytest.approx(0.2865, abs=1e-3) and row.measure_after > row.measure_before
        assert row.gradient_norm > 0 and row.dphi_norm > 0 and row.leverage > 0 and not row.collapsed
    # Adam's first update moves every number of W by its rate, and V not at all: W's columns are equal at first.
    assert rows[1].dtheta_norm == pytest.approx(0.05 * 6**0.5, rel=1e-2)
    assert made.done == 4


def test_the_time_of_a_step_is_logged(tmp_path, monkeypatch):
    clock = iter([10.0, 12.0, 20.0, 25.0])
    monkeypatch.setattr(loop_over_steps, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    taught(tmp_path, steps=1)
    assert [row.elapsed_s for row in read_steps(tmp_path / LOG_NAME)] == [2.0, 5.0]


def test_the_last_step_is_validated_whatever_the_interval(tmp_path):
    taught(tmp_path, steps=3)
    assert [row.step for row in rows_of(tmp_path) if row.dev_accuracy is not None] == [0, 2, 3]


def test_the_best_teacher_is_kept_with_what_goes_with_it(tmp_path):
    """Of equal ones the first."""
    made = taught(tmp_path, ToySchool(values=iter([0.5, 0.8, 0.8, 0.7])), steps=3, validate_every=1)
    assert (made.best_step, made.best_value) == (1, 0.8)
    best, last = (read_teacher(tmp_path / name, "diagonal", "") for name in (BEST_NAME, LAST_NAME))
    assert best.header.signature == "toy|rate:0.05|step:1" and last.header.signature == "toy|rate:0.05|step:3"
    assert best.digest != last.digest and (tmp_path / "kept").read_text() == "0.8"
    assert all(torch.equal(*pair) for pair in zip(last.teacher.parameters(), made.teacher.parameters(), strict=True))


def test_an_untaught_teacher_is_kept_even_where_it_is_worth_nothing(tmp_path, caplog):
    with caplog.at_level("INFO"):
        made = taught(tmp_path, ToySchool(values=iter([0.0, 0.0, 0.0])))
    assert made.best_step == 0 and (tmp_path / BEST_NAME).exists() and (tmp_path / "kept").read_text() == "0.0"
    assert "no validated teacher was better than the untaught one" in caplog.text


def test_bounds_hold_after_every_step(tmp_path):
    free = taught(tmp_path / "free").teacher.values.detach()
    low, high = torch.tensor([0.98, float("-inf")]), torch.tensor([1.01, 0.5])
    bound = taught(tmp_path / "bound", bounds=(low, high)).teacher.values.detach()
    assert not bool(((free >= low.unsqueeze(1)) & (free <= high.unsqueeze(1))).all())
    assert bool(((bound >= low.unsqueeze(1)) & (bound <= high.unsqueeze(1))).all())


# Collapses -------------------------------------------------------------------------


def test_a_collapsed_lesson_teaches_nothing_and_the_next_one_goes_on(tmp_path, caplog):
    made = teaching_in(tmp_path, ToySchool(collapsing={2, 3}))
    made.run()
    rows = rows_of(tmp_path)
    assert [row.collapsed for row in rows] == [False, False, True, True, False]
    assert rows[2].dtheta_norm == rows[2].gradient_norm == 0.0 < rows[4].dtheta_norm
    assert made.collapses.in_a_row == 0
    assert "lesson 2 collapsed, the teacher does not learn from it: the student's loss is not finite" in caplog.text


def test_three_in_a_row_end_teaching_after_they_are_saved(tmp_path):
    made = teaching_in(tmp_path, ToySchool(collapsing={2, 3, 4}), steps=9)
    with pytest.raises(CollapsedError, match="3 lessons in a row .*loss is not finite.*The best teacher"):
        made.run()
    assert [row.step for row in rows_of(tmp_path)] == [0, 1, 2, 3, 4]
    assert taught(tmp_path, ToySchool(collapsing={2, 3, 4}), steps=6).done == 6


def test_the_count_of_collapses_survives_a_resume(tmp_path):
    school = ToySchool(collapsing={2, 3, 4})
    taught(tmp_path, school, steps=3)
    with pytest.raises(CollapsedError):
        taught(tmp_path, school, steps=6)
    assert rows_of(tmp_path)[-1].step == 4


def test_a_lesson_far_below_the_best_so_far_is_a_collapse(tmp_path):
    made = taught(tmp_path, steps=1)
    best = made.collapses.best
    assert best == rows_of(tmp_path)[1].measure_after
    assert made.collapses.floor == pytest.approx(0.5 * best)
    made.collapses.best = 2.5
    figures = made._lesson(2)
    assert figures["collapsed"] and "gradient_norm" not in figures
    again = teaching_in(tmp_path, steps=1)
    again.run()
    assert again.collapses.best == best


# Resuming --------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [2, 3])
def test_a_resumed_run_is_the_straight_run(tmp_path, stop):
    """The last step is validated, so that a run to step 3 has one validation more."""
    straight, first = taught(tmp_path / "straight", steps=6), taught(tmp_path / "resumed", steps=stop)
    resumed = taught(tmp_path / "resumed", steps=6)
    assert first.done == stop
    for mine, other in zip(straight.teacher.parameters(), resumed.teacher.parameters(), strict=True):
        assert torch.equal(mine, other)
    assert str(straight.optimizer.state_dict()) == str(resumed.optimizer.state_dict())
    for mine, other in zip(rows_of(tmp_path / "straight"), rows_of(tmp_path / "resumed"), strict=True):
        assert mine == (other if mine.step != stop else dataclasses.replace(other, dev_accuracy=mine.dev_accuracy))
    assert digest(tmp_path / "straight", LAST_NAME) == digest(tmp_path / "resumed", LAST_NAME)
    assert (straight.best_step, straight.best_value) == (resumed.best_step, resumed.best_value)


def test_an_untaught_teacher_stays_the_best_over_a_resume(tmp_path):
    taught(tmp_path, ToySchool(values=iter([0.9, 0.5])), steps=2)
    resumed = taught(tmp_path, ToySchool(values=iter([0.6, 0.6])))
    assert (resumed.done, resumed.best_step, resumed.best_value) == (4, 0, 0.9)


def test_a_row_whose_state_was_not_saved_any_more_is_written_again(tmp_path, monkeypatch):
    """A kill between log and state: the log is a step ahead."""
    straight = taught(tmp_path / "straight")

    def killed(folder, signature, state):
        if state["done"] == 3:
            raise KeyboardInterrupt
        return saved(folder, signature, state)

    saved = state_of_a_run.save_state
    monkeypatch.setattr(state_of_a_run, "save_state", killed)
    with pytest.raises(KeyboardInterrupt):
        taught(tmp_path / "killed")
    assert [row.step for row in rows_of(tmp_path / "killed")] == [0, 1, 2, 3]
    monkeypatch.undo()
    resumed = taught(tmp_path / "killed")
    assert rows_of(tmp_path / "killed") == rows_of(tmp_path / "straight")
    assert torch.equal(resumed.teacher.values, straight.teacher.values)


def test_a_log_that_was_deleted_begins_again(tmp_path):
    taught(tmp_path, steps=2)
    (tmp_path / LOG_NAME).unlink()
    assert taught(tmp_path).done == 4
    assert [row.step for row in rows_of(tmp_path)] == [3, 4]


def test_a_log_without_a_state_is_of_no_run(tmp_path):
    other = taught(tmp_path / "other", steps=1)
    tmp_path.joinpath("new").mkdir()
    append_step(tmp_path / "new" / LOG_NAME, dataclasses.replace(rows_of(tmp_path / "other")[1], step=9))
    taught(tmp_path / "new", steps=1)
    assert rows_of(tmp_path / "new") == rows_of(tmp_path / "other") and other.done == 1


def test_a_finished_run_changes_nothing(tmp_path, caplog):
    taught(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name != LOG_NAME}
    rows, school = rows_of(tmp_path), ToySchool()
    with caplog.at_level("INFO"):
        taught(tmp_path, school)
    assert "has 4 teacher steps already: ask for more steps to go on" in caplog.text
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name != LOG_NAME} == before
    assert rows_of(tmp_path) == rows and school.validated == []


def test_every_validation_teaches_the_same_student(tmp_path):
    """The untaught teacher's, again and again where it does not learn."""
    school = ToySchool(collapsing={1, 2})
    taught(tmp_path, school, steps=2, validate_every=1)
    assert len(school.validated) == 3 and len({tuple(params.tolist()) for params in school.validated}) == 1


# Refusals --------------------------------------------------------------------------


def test_a_folder_of_other_settings_is_refused(tmp_path):
    taught(tmp_path, steps=1)
    with pytest.raises(ValueError, match="holds a run with other settings .toy.rate:0.05; these are toy.rate:0.1"):
        taught(tmp_path, None, Signature.of("toy", {"rate": 0.1}))


def changed(state, **changes):
    return {**state, **changes}


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda state: changed(state, done="two"), "done is 'two', wanted a whole number"),
        (lambda state: changed(state, done=-3), "do not fit this teacher"),
        (lambda state: changed(state, best_step=5), "do not fit this teacher"),
        (lambda state: changed(state, best_step=-1), "do not fit this teacher"),
        (lambda state: changed(state, best_value=None), "best_value is None, wanted a number"),
        (lambda state: changed(state, collapses={}), "is damaged .'in_a_row'.: delete"),
        (lambda state: changed(state, teacher={}), "is damaged .*Missing key|is damaged .*state_dict"),
        (lambda state: changed(state, teacher={"values": torch.ones(2, 9), "keys": torch.ones(9, 2)}), "is damaged"),
        (
            lambda state: changed(state, teacher=turned(state["teacher"], torch.Tensor.long)),
            "is int64, but must",
        ),
        (lambda state: changed(state, teacher=turned(state["teacher"], torch.log)), "infinite or NaN"),
        (lambda state: changed(state, optimizer={}), "is damaged"),
        (
            lambda state: changed(state, optimizer={"state": {0: {"step": torch.tensor(1.0)}}}),
            "do not fit this teacher",
        ),
        (lambda state: changed(state, optimizer={"state": {0: {"step": "one"}}}), "is damaged"),
        (lambda state: changed(state, optimizer=reshaped(state["optimizer"])), "do not fit this teacher"),
        (
            lambda state: {name: value for name, value in state.items() if name != "teacher"},
            "lacks the fields 'teacher'",
        ),
    ],
)
def test_a_state_that_does_not_fit_is_named(tmp_path, damage, words):
    taught(tmp_path, steps=2)
    state = damage(torch.load(tmp_path / STATE_NAME, weights_only=True))
    with replacing(tmp_path / STATE_NAME) as partial:
        torch.save(state, partial)
    with pytest.raises(ValueError, match=f"last.pt .*{words}"):
        taught(tmp_path)


def turned(tensors, change):
    return {name: change(-tensor.abs()) for name, tensor in tensors.items()}


def reshaped(optimizer):
    state = {place: {**each, "exp_avg": torch.ones(7)} for place, each in optimizer["state"].items()}
    return {**optimizer, "state": state}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 0}, "steps is 0, but must be at least 1"),
        ({"validate_every": 0}, "validate_every is 0, but must be at least 1"),
        ({"rate": 0.0}, "rate is 0.0, but must be positive"),
        ({"collapse_share": 1.5}, "collapse_share is 1.5, but must lie between 0 and 1"),
    ],
)
def test_plans_out_of_range_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(PLAN, **changes)


def test_the_defaults_are_those_of_the_paper_and_of_our_runs():
    assert TeachingPlan(7) == TeachingPlan(7, rate=1e-4, validate_every=5, collapse_share=0.9, bounds=None)
