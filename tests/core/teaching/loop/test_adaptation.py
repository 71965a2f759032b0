"""The loop over windows of students' only runs: what is carried on, what is learned, collapses, resuming."""

import dataclasses

import pytest
import torch

from fairseq_dlf.core.files.replacement import replacing
from fairseq_dlf.core.files.run_folder import STATE_NAME
from fairseq_dlf.core.hypergradient.episode import EpisodePlan
from fairseq_dlf.core.support.signature import Signature
from fairseq_dlf.core.teaching.estimators import Reinforce, Reverse, TwoUnrolls, estimate
from fairseq_dlf.core.teaching.loop import saved as state_of_a_run
from fairseq_dlf.core.teaching.loop.adaptation import Adaptation, windows_of
from fairseq_dlf.core.teaching.loop.collapse import CollapsedError
from fairseq_dlf.core.teaching.loop.journal import LOG_NAME, read_steps
from fairseq_dlf.core.teaching.loop.steps import BEST_NAME, LAST_NAME, TeachingPlan
from fairseq_dlf.core.teaching.teacher_file import read_teacher
from fairseq_dlf.core.teaching.teachers import AttentionTeacher, ControllerTeacher, LSTMTeacher
from tests.core.teaching.toy import FEATURES, Remembering, ToyFamily

SIGNATURE = Signature.of("toy", {"rate": 0.05})


def attention():
    torch.manual_seed(2)
    return AttentionTeacher(torch.ones(2, 3), 3 * torch.randn(3, 2))


def remembering():
    torch.manual_seed(2)
    return Remembering(torch.ones(2), 0.1 * torch.randn(2, 2))


def controller():
    torch.manual_seed(2)
    return ControllerTeacher.untaught(torch.ones(2), 2)


def stepping():
    torch.manual_seed(2)
    return LSTMTeacher.untaught(torch.ones(2), 2, width=4, step=0.05)


MADE = {
    "reverse": (attention, lambda window: Reverse(EpisodePlan(window, collapse_share=0.0))),
    "memory": (remembering, lambda window: Reverse(EpisodePlan(window, collapse_share=0.0))),
    "steps": (stepping, lambda window: TwoUnrolls(EpisodePlan(window, collapse_share=0.0))),
    "reinforce": (controller, lambda window: Reinforce(EpisodePlan(window, collapse_share=0.0), replay=6, minibatch=3)),
}


def adaptation_in(folder, family=None, kind="reverse", **changes):
    family = family or ToyFamily()
    teacher, estimator = MADE[kind]
    steps = windows_of(family.updates, family.window)
    plan = dataclasses.replace(TeachingPlan(steps, rate=0.05, validate_every=1, collapse_share=0.0), **changes)
    return Adaptation(family, teacher(), estimator(family.window), plan, SIGNATURE, folder)


def adapted(folder, *given, **changes):
    made = adaptation_in(folder, *given, **changes)
    made.run()
    return made


def rows_of(folder):
    return [dataclasses.replace(row, elapsed_s=0.0) for row in read_steps(folder / LOG_NAME)]


@pytest.mark.parametrize("kind", ["reverse", "memory"])
def test_one_window_of_the_whole_run_is_one_lesson_of_teaching(tmp_path, kind):
    """The same hypergradient, to the bit."""
    family = ToyFamily(window=12)
    made = adapted(tmp_path, family, kind)
    teacher, estimator = MADE[kind]
    teacher = teacher()
    found = estimate(estimator(12), family.lesson(0), teacher, len(FEATURES))
    wanted = torch.autograd.grad(found.loss, list(teacher.parameters()))
    for mine, gradient in zip(made.teacher.parameters(), wanted, strict=True):
        assert torch.equal(mine.grad, gradient)
    assert max(float(gradient.norm()) for gradient in wanted) > 1e-3
    assert torch.equal(made.children[0].params, found.student.final.params)
    assert rows_of(tmp_path)[1].measure_after == found.figures["measure_after"]


def test_windows_go_on_where_the_last_one_ended(tmp_path):
    """With a rate too small to move Φ, the student is that of one window."""
    whole, cut = (adapted(tmp_path / str(window), ToyFamily(window=window), rate=1e-30) for window in (12, 3))
    torch.testing.assert_close(cut.children[0].params, whole.children[0].params, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(cut.children[0].slots[0], whole.children[0].slots[0], rtol=1e-5, atol=1e-6)
    rows = rows_of(tmp_path / "3")
    assert [row.step for row in rows] == [0, 1, 2, 3, 4]
    for before, after in zip(rows[1:], rows[2:], strict=False):
        assert after.measure_before == before.measure_after
    assert cut.children[0].path.shape == (4, 2)


def test_the_loss_of_the_next_window_is_the_one_that_was_learned(tmp_path):
    made = adapted(tmp_path, ToyFamily())
    path = made.children[0].path
    assert path[0].tolist() == [1.0, 1.0] and (path.diff(dim=0).abs() > 0.004).all()


def test_each_student_has_coefficients_of_its_own_that_the_teacher_steps_from(tmp_path):
    made = adapted(tmp_path, ToyFamily(children=2), "steps")
    windows = windows_of(ToyFamily().updates, ToyFamily().window)
    for child in made.children:
        assert child.path.shape == (windows, 2) and child.path[0].tolist() == [1.0, 1.0]
        assert (child.path.diff(dim=0) != 0).all()
        assert not torch.equal(child.memory[0], child.path[-1])  # the step after the last window
    one, other = made.children
    assert not torch.equal(one.path, other.path)


def test_the_gradient_is_the_mean_over_the_students(tmp_path):
    family = ToyFamily(children=3)
    made = adaptation_in(tmp_path, family)
    teacher = attention()
    made._lesson(1)
    each = []
    for place in range(3):
        other = adaptation_in(tmp_path / str(place), ToyFamily(children=3))
        estimated = other._window(place, 1)
        each.append(torch.autograd.grad(estimated.loss, list(other.teacher.parameters())))
    for mine, *gradients in zip(made.teacher.parameters(), *each, strict=True):
        torch.testing.assert_close(mine.grad, torch.stack(gradients).mean(dim=0))
    assert not torch.equal(each[0][0], each[1][0]) and not torch.equal(made.teacher.values, teacher.values)


def test_what_is_left_of_the_run_is_trained_and_nothing_learned(tmp_path):
    made = adapted(tmp_path, ToyFamily(window=5))
    rows = rows_of(tmp_path)
    assert [row.step for row in rows] == [0, 1, 2, 3]
    assert rows[3].gradient_norm == 0.0 < rows[2].gradient_norm and rows[3].measure_after is None
    assert rows[3].dev_accuracy == made.lessons[0].measure.value(made.children[0].params)


def test_the_best_and_the_last_student_are_kept(tmp_path):
    family = ToyFamily(children=2)
    told = iter([0.1, 0.2, 0.3, 0.9, 0.8, 0.7, 0.2, 0.3, 0.5, 0.6])
    family.value = lambda lesson, params, buffers: next(told)
    made = adapted(tmp_path, family)
    assert (made.best_step, made.best_value) == (1, 0.9)
    last, best = ((tmp_path / name).read_text() for name in ("last", "best"))
    assert last == " ".join(map(str, made.children[1].params.tolist())) != best
    assert read_teacher(tmp_path / BEST_NAME, "diagonal", "").header.signature.endswith("|step:1")
    assert read_teacher(tmp_path / LAST_NAME, "diagonal", "").header.signature.endswith("|step:4")


def test_rewards_of_all_students_go_to_one_memory(tmp_path):
    made = adapted(tmp_path, ToyFamily(children=2), "reinforce")
    assert made.estimator.memory.added == 8 and len(made.estimator.memory.records) == 6
    first, second = made.children
    assert not torch.equal(first.path, second.path) and first.reached is not None
    rows = rows_of(tmp_path)
    assert all(-1.0 <= row.reward <= 1.0 for row in rows[1:]) and rows[0].reward is None
    assert any(row.dtheta_norm > 0 for row in rows)


def test_buffers_belong_to_each_student(tmp_path):
    made = adaptation_in(tmp_path, ToyFamily(children=2))
    for place, lesson in enumerate(made.lessons):
        lesson.student.module.register_buffer("seen", torch.zeros(1))
        lesson.student._has_buffers = True
        made.children[place] = dataclasses.replace(
            made.children[place], buffers={"seen": torch.full((1,), 5.0 + place)}
        )
    seen = []
    for lesson in made.lessons:
        lesson.observe = lambda t, params, buffers: seen.append(float(buffers["seen"])) or torch.tensor([0.5])
    made._lesson(1)
    assert seen == [5.0, 6.0] and [float(child.buffers["seen"]) for child in made.children] == [5.0, 6.0]


# Collapses --------------------------------------------------------------------------


def test_a_collapsed_window_teaches_nothing_and_the_next_one_goes_on(tmp_path, caplog):
    made = adapted(tmp_path, ToyFamily(collapsing={(0, 2)}))
    rows = rows_of(tmp_path)
    assert [row.collapsed for row in rows] == [False, False, True, False, False]
    assert rows[2].dtheta_norm == 0.0 < rows[3].dtheta_norm and made.collapses.in_a_row == 0
    assert "window 2 collapsed, the teacher does not learn from it: the student's loss is not finite" in caplog.text


def test_a_student_that_collapses_leaves_the_others_to_learn_from(tmp_path, caplog):
    adapted(tmp_path, ToyFamily(children=2, collapsing={(1, 2)}))
    rows = rows_of(tmp_path)
    assert not any(row.collapsed for row in rows) and all(row.dtheta_norm > 0 for row in rows[1:])
    assert "window 2 of student 2 collapsed" in caplog.text


def test_three_collapsed_windows_in_a_row_end_the_run_after_they_are_saved(tmp_path):
    family = ToyFamily(updates=15, collapsing={(0, 2), (0, 3), (0, 4)})
    with pytest.raises(CollapsedError, match="3 lessons in a row .*loss is not finite.*The best teacher"):
        adapted(tmp_path, family)
    assert [row.step for row in rows_of(tmp_path)] == [0, 1, 2, 3, 4]
    assert adapted(tmp_path, family).done == 5


# Resuming ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("stop", [1, 3])
def test_a_killed_run_goes_on_as_the_straight_one(tmp_path, monkeypatch, kind, stop):
    """The kill falls between the log and the state, so that the log is a window ahead."""

    def run(folder):
        return adapted(folder, ToyFamily(children=2, window=3), kind)

    straight = run(tmp_path / "straight")

    def killed(folder, signature, state):
        if state["done"] == stop:
            raise KeyboardInterrupt
        return saved(folder, signature, state)

    saved = state_of_a_run.save_state
    monkeypatch.setattr(state_of_a_run, "save_state", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed")
    assert rows_of(tmp_path / "killed")[-1].step == stop
    monkeypatch.undo()
    resumed = run(tmp_path / "killed")
    assert rows_of(tmp_path / "killed") == rows_of(tmp_path / "straight")
    for mine, other in zip(straight.teacher.parameters(), resumed.teacher.parameters(), strict=True):
        assert torch.equal(mine, other)
    assert str(straight.optimizer.state_dict()) == str(resumed.optimizer.state_dict())
    one, other = (torch.load(tmp_path / name / STATE_NAME, weights_only=True) for name in ("straight", "killed"))
    assert str(one) == str(other) and len(one["children"]) == 2
    for name in ("best", "last"):
        assert (tmp_path / "straight" / name).read_text() == (tmp_path / "killed" / name).read_text()


def test_a_finished_run_changes_nothing(tmp_path, caplog):
    adapted(tmp_path)
    rows = rows_of(tmp_path)
    with caplog.at_level("INFO"):
        adapted(tmp_path)
    assert rows_of(tmp_path) == rows and "the run is finished" in caplog.text


@pytest.mark.parametrize(
    "damage",
    [
        lambda children: [],
        lambda children: [{**children[0], "params": torch.ones(3)}],
        lambda children: [{**children[0], "slots": []}],
        lambda children: [{**children[0], "path": torch.ones(1, 2)}],
        lambda children: [{**children[0], "memory": [torch.ones(1)]}],
    ],
)
def test_students_that_do_not_fit_are_noticed(tmp_path, damage):
    adapted(tmp_path)
    state = torch.load(tmp_path / STATE_NAME, weights_only=True)
    with replacing(tmp_path / STATE_NAME) as partial:
        torch.save({**state, "children": damage(state["children"])}, partial)
    with pytest.raises(ValueError, match="last.pt is damaged .its students do not fit this run.: delete"):
        adapted(tmp_path)


def test_a_state_of_an_estimator_without_memory_is_none(tmp_path):
    adapted(tmp_path)
    state = torch.load(tmp_path / STATE_NAME, weights_only=True)
    assert state["estimator"] == {}
    with replacing(tmp_path / STATE_NAME) as partial:
        torch.save({**state, "estimator": {"average": 0.5}}, partial)
    with pytest.raises(ValueError, match="state of another estimator"):
        adapted(tmp_path)


@pytest.mark.parametrize("window", [0, 13])
def test_windows_that_are_none_of_the_run_are_refused(window):
    with pytest.raises(ValueError, match=f"a window has {window} updates, but must have between 1 and .* 12"):
        windows_of(12, window)


def test_a_plan_of_another_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="the plan has 7 steps, but the run has 4 windows"):
        adaptation_in(tmp_path, steps=7)
