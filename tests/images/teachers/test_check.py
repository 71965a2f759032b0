"""What a check tells of the first lesson that `teach` would run."""

import pytest
import torch

from fairseq_dlf.core.hypergradient.unroll import unroll
from fairseq_dlf.core.support.errors import InputError, StateError
from fairseq_dlf.core.teaching.foresight import Cost
from fairseq_dlf.core.teaching.guidance import Guidance
from fairseq_dlf.core.teaching.teachers import StaticTeacher
from fairseq_dlf.images.students.accuracy import accuracy
from fairseq_dlf.images.teachers import check
from fairseq_dlf.images.teachers.check import findings
from fairseq_dlf.images.teachers.school import ImageSchool
from fairseq_dlf.images.teachers.settings import CheckSettings, TeachingSettings


@pytest.fixture
def school(data, student):
    """`school(**changes)` teaches students of 12 updates on 3 classes."""
    return lambda **changes: ImageSchool(data(), student(), TeachingSettings(**changes))


def told(school, **changes):
    return list(findings(school, CheckSettings(**changes)))


def directly(school, phi, updates):
    """Dev accuracy in per cent and mean loss of the first lesson's student, trained with one Φ by `unroll` alone."""
    lesson = school.lesson(1)
    source = Guidance(lesson, StaticTeacher(phi), 1).source
    done = unroll(lesson.student, lesson.rule, source, lesson.start, updates)
    return 100 * accuracy(lesson.student, done.final.params, done.buffers, school.held_out), float(done.losses.mean())


def trial_lines(lines):
    return [line for line in lines if line.startswith("  Φ")]


def test_all_is_told_in_order(school):
    lines = told(school())
    assert lines[:2] == [
        "second-order products: the student can be differentiated as the options want",
        "kinks: relu: differences of gradients would be wrong",
    ]
    assert lines[2].startswith("precision: second-order products are off by ") and "poor" not in lines[2]
    assert lines[3].startswith("an episode of 12 updates: about ") and "12 of 12 steps are kept" in lines[3]
    assert "an observation " in lines[3]
    assert lines[4].startswith("all of `teach`, 60 episodes and 13 validations: about ")
    assert lines[5].startswith("smoothness in Φ over 12 updates: ")
    assert lines[6] == "accuracy (%) on 30 dev images after 12 updates:"
    assert lines[7].startswith("  before: ") and len(trial_lines(lines)) == 6
    assert lines[-2].startswith("leverage: ") and lines[-1].startswith("advice: ")


@pytest.mark.parametrize("updates", [5, 12])
def test_scores_and_leverage_are_those_of_direct_trainings(school, updates):
    made, identity = school(phi_start=0.4), torch.eye(3).flatten()
    constants = {f"Φ = {factor:g} times neutral": factor * identity for factor in (0.2, 0.4, 0.6)}
    shares = {
        f"Φ of scale 0.2 with a uniform share of {share:g}": 0.2 * ((1 - share) * identity + share / 3)
        for share in (0.0, 0.1, 0.3)
    }
    lines, between = told(made, check_updates=updates), []
    for number, trials in enumerate((constants, shares)):
        found = {title: directly(made, phi, updates) for title, phi in trials.items()}
        wanted = [f"  {title}: {score:.2f}, mean loss {loss:.3f}" for title, (score, loss) in found.items()]
        assert trial_lines(lines)[3 * number : 3 * number + 3] == wanted
        between.append(max(score for score, _ in found.values()) - min(score for score, _ in found.values()))
    assert f"leverage: {between[0]:.2f} points between constant Φ, {between[1]:.2f} between" in lines[-2]
    assert sum(between) > 0


def test_a_small_row_is_cross_entropy_with_label_smoothing(school):
    """But for a factor of a quarter of its scale: the gradients point in one direction."""
    lesson = school().lesson(1)
    first, params = lesson.step(0), lesson.start.params

    def smoothed(forward, coefficients, batch):
        logits = forward(batch.images).logits
        return torch.nn.functional.cross_entropy(logits, batch.labels, label_smoothing=0.3)

    trial = check._share_trials(lesson, 3, start=0.01)[2]
    point = check.first_point(lesson, trial.coefficients)
    found = lesson.student.gradients(point).params
    wanted = 0.25 * 0.01 * lesson.student.with_objective(smoothed).gradients(point).params
    assert torch.equal(point.params, params) and torch.equal(point.batch.images, first.batch.images)
    torch.testing.assert_close(found, wanted, rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize(
    ("form", "title"),
    [
        ("matrix(linear=1)", "Φ with a uniform share of 0.1"),
        ("bins(number=2)", "Φ of scale 0.2 with a uniform share of 0.1"),
        ("smoothed(linear=1)", "Φ with a uniform share of 0.1"),
    ],
)
def test_shares_are_in_the_form_of_the_run(school, form, title):
    lines = trial_lines(told(school(form=form), check_updates=1))
    assert len(lines) == 6 and lines[4].startswith(f"  {title}: ")


def test_a_form_without_shares_has_none(school):
    lines = told(school(form="diagonal"), check_updates=1)
    assert len(trial_lines(lines)) == 3 and "none, for lack of such a Φ, between shares" in lines[-2]


def test_a_form_that_starts_at_random_has_its_start_alone(school):
    lines = told(school(form="loss_network(width=3)"), check_updates=1)
    assert lines[1] == "kinks: leaky_relu, relu: differences of gradients would be wrong"
    assert [line.split(":")[0] for line in trial_lines(lines)] == ["  Φ where teaching starts"]
    with pytest.raises(InputError, match="loss_network starts at random, so that 0.5 times its start"):
        school(form="loss_network", phi_start=0.5).untaught()


def test_a_loss_that_is_flat_in_float32_is_imprecise(school):
    precise, poor = (told(school(phi_start=start), check_updates=1)[2] for start in (1.0, 150.0))
    assert float(precise.split()[-4]) < 1e-5
    assert ": poor: compute in full float32" in poor and "--phi-start" in poor


def test_an_estimator_without_products_is_told_as_such(school):
    lines = told(school(teacher="static", estimator="forward_differences"), check_updates=1)
    assert lines[0] == "second-order products: the estimator takes none"
    assert lines[1].startswith("a training of 12 updates: about ") and "an observation" not in lines[1]
    assert lines[2].startswith("smoothness in Φ over 1 of 12 updates: ")


def test_the_whole_is_episodes_and_validations(school):
    made = school(teacher_steps=5, validate_every=2, validation_students=3, teacher="static", truncate=4)
    cost = Cost(update_s=1.0, observe_s=1000.0, reverse_s=10.0, measure_s=100.0)
    wanted = 5 * ((12 + 100) + (4 * 10 + 100)) + 4 * 3 * (12 + 100)
    line = check._whole_line(made.settings, check._prospect(made, CheckSettings()), cost)
    assert line == f"all of `teach`, 5 episodes and 4 validations: about {wanted / 60:.0f} min"


def test_the_check_is_of_what_chooses_the_best_teacher(school):
    assert "accuracy (%) on 15 dev images after 1 of 12 updates:" in told(school(measure_share=0.5), check_updates=1)


def test_a_student_without_second_derivatives_is_named(school, monkeypatch):
    def refuse(student, point):
        raise StateError("the layer x has no second derivative")

    monkeypatch.setattr(check, "require_second_derivatives", refuse)
    with pytest.raises(StateError, match="the layer x"):
        told(school())


def test_wrong_options_of_the_teacher_are_found(school):
    with pytest.raises(InputError, match="keys is 0"):
        told(school(keys=0))


@pytest.mark.parametrize(
    ("given", "updates", "wanted"), [(None, 12, 12), (None, 2000, 500), (0, 2000, 2000), (7, 12, 7)]
)
def test_a_check_makes_a_part_of_the_run(given, updates, wanted):
    assert CheckSettings(given).of(updates) == wanted


def test_more_updates_than_the_run_has_are_refused():
    with pytest.raises(InputError, match="check_updates is 13, but the run has 12 updates: give fewer, or 0 for all"):
        CheckSettings(13).of(12)
    with pytest.raises(InputError, match="check_updates is -1"):
        CheckSettings(-1)
