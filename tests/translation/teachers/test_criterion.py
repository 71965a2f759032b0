"""The criterion of teaching: the loss and figures of an estimate, validation, what is logged."""

from types import SimpleNamespace

import pytest
import torch
from fairseq.logging import metrics
from torch import nn

from fairseq_dlf.core.hypergradient.unroll import Unroll
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.teaching.estimators import Estimate
from fairseq_dlf.core.teaching.teachers import AttentionTeacher
from fairseq_dlf.translation.bleu.scores import CorpusBleu
from fairseq_dlf.translation.teachers.criterion import DlfTeachingCriterion
from fairseq_dlf.translation.teachers.model import DlfTeacherModel
from fairseq_dlf.translation.teachers.turns import Turn
from tests.translation.conftest import TinyTask
from tests.translation.made_lessons import bleu_of_params, made_lessons

FIGURES = {
    "measure_before": 0.25,
    "measure_after": 0.5,
    "student_loss": 3.0,
    "forward_s": 1.0,
    "reverse_s": 2.0,
    "dphi_norm": 0.1,
    "leverage": 0.02,
    "cotangent_norm": 7.0,
    "cotangent_growth": 4.0,
}
LOGGED = {
    "expected_bleu_before": 25.0,
    "expected_bleu": 50.0,
    "student_loss": 3.0,
    "forward_s": 1.0,
    "reverse_s": 2.0,
    "dphi_norm": 0.1,
    "expected_bleu_leverage": 2.0,
    "domega_growth": 4.0,
}


class Wrapped(nn.Module):
    """What several workers wrap a model in."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, progress):
        return 2 * self.module(progress)


@pytest.fixture
def made(monkeypatch):
    bleu_of_params(monkeypatch)
    metrics.reset()

    def build(**options):
        found = made_lessons(monkeypatch, student_dropout=0.0, **options)
        found.criterion = DlfTeachingCriterion(found.task, found.lessons).train()
        teacher = AttentionTeacher(1 + torch.rand(12, 3), torch.randn(3, 3))
        found.model = DlfTeacherModel(teacher, {}).train()
        return found

    return build


class FakeEstimator:
    """Says that a lesson went as it was told to, and keeps what it was asked."""

    def __init__(self, collapse=None, **figures):
        self.collapse, self.figures = collapse, {**FIGURES, **figures}

    def __call__(self, lesson, guidance, along, floor=0.0, watch=None):
        self.asked = SimpleNamespace(lesson=lesson, guidance=guidance, along=along, floor=floor)
        guidance.observe(0, lesson.start.params, {})
        loss = along(guidance.progress).sum() * (0.0 if self.collapse else 1.0)
        end = lesson.start._replace(params=lesson.start.params + 1)
        return Estimate(loss, self.figures, self.collapse, Unroll(end, torch.zeros(1), {}))


def test_a_turn_is_an_estimate_of_its_lesson(made):
    found = made(truncate=4)
    found.lessons.estimator = estimator = FakeEstimator()
    model = Wrapped(found.model).train()
    loss, sample_size, log = found.criterion(model, Turn(5, 2, None))
    lesson = found.lessons.lesson(5, 2, torch.device("cpu"))
    assert estimator.asked.lesson.seeds == lesson.seeds and estimator.asked.floor == 0.0
    assert estimator.asked.along is model and sample_size == 1
    progress = estimator.asked.guidance.progress
    torch.testing.assert_close(loss, 2 * found.model(progress).sum())
    assert loss.requires_grad and log["loss"] == loss and not log["loss"].requires_grad
    wanted = found.model.teacher.along(progress)[3]
    torch.testing.assert_close(estimator.asked.guidance.coefficients(3), wanted.detach())
    told = {key.partition(":")[2]: value for key, value in log.items()}
    assert {name: told[name] for name in LOGGED} == pytest.approx(LOGGED)
    assert (told["horizon"], told["collapsed"], log["sample_size"]) == (4, 0.0, 1)
    assert "cotangent_norm" not in told and log["nsentences"] == 1
    assert found.criterion.ending.collapse is None
    assert torch.equal(found.criterion.ending.student, lesson.start.params + 1)


def test_a_lesson_goes_on_with_the_student_of_its_turn(made):
    found = made(student_start="continue")
    found.lessons.estimator = estimator = FakeEstimator()
    student = torch.full_like(found.lessons.lesson(0, 0, torch.device("cpu")).start.params, 0.5)
    found.criterion(found.model, Turn(0, 0, student))
    assert torch.equal(estimator.asked.lesson.start.params, student)


def test_a_collapsed_turn_has_no_weight_but_a_graph(made):
    found = made()
    found.lessons.estimator = FakeEstimator("it fell")
    loss, sample_size, log = found.criterion(found.model, Turn(0, 0, None))
    assert (float(loss), sample_size, log["sample_size"], log["_each:collapsed"]) == (0.0, 0, 0, 1.0)
    assert loss.requires_grad and found.criterion.ending.collapse == "it fell"


def test_the_paper_s_estimator_moves_the_teacher(made):
    found = made()
    loss, sample_size, log = found.criterion(found.model, Turn(0, 0, None))
    loss.backward()
    assert sample_size == 1 and found.model.teacher.values.grad.norm() > 0
    assert log["_good:dphi_norm"] > 0 and log["_each:horizon"] == 6


def test_validation_is_a_fixed_lesson_without_a_reverse_pass(made, monkeypatch):
    found, decoded = made(), []
    found.lessons.estimator = None
    monkeypatch.setattr(found.lessons, "greedy", lambda student, params: decoded.append(params) or CorpusBleu(12.5, ""))
    for mode in ("criterion", "model"):
        getattr(found, mode).eval()
        with torch.no_grad():
            loss, sample_size, log = found.criterion(found.model, Turn(0, 0, None))
        getattr(found, mode).train()
        assert float(loss) == pytest.approx(1 - log["_each:expected_bleu"] / 100)
        assert 0 < log["_each:expected_bleu"] < 100
        assert (log["_each:bleu"], sample_size) == (12.5, 1)
    lesson = found.lessons.validation(torch.device("cpu"))
    assert not torch.equal(decoded[0], lesson.start.params) and torch.equal(*decoded)
    value = lesson.measure.value(decoded[0])
    assert log["_each:expected_bleu"] == pytest.approx(100 * value)


def test_each_member_s_figures_are_told_apart(made, monkeypatch):
    found = made(student="student.pt,longer_student.pt", update_freq=[2])
    logs = []
    for member, after in enumerate((0.5, 0.25)):
        found.lessons.estimator = estimator = FakeEstimator("it fell" if member else None, measure_after=after)
        logs.append(found.criterion(found.model, Turn(0, member, None, member))[2])
        assert estimator.asked.lesson.student.module is found.lessons.members[member].student.module
    assert set(logs[0]) == set(logs[1])
    told = reduced(*logs)
    assert (told["expected_bleu"], told["expected_bleu_1"], told["expected_bleu_2"]) == (37.5, 50.0, 25.0)
    monkeypatch.setattr(
        found.lessons,
        "greedy",
        lambda student, params: CorpusBleu(20.0 if student is found.lessons.members[1].student else 10.0, ""),
    )
    found.model.eval()
    with torch.no_grad():
        logs = [found.criterion(found.model, Turn(0, 0, None, member))[2] for member in range(2)]
    assert set(logs[0]) == set(logs[1])
    told = reduced(*logs)
    assert (told["bleu"], told["bleu_1"], told["bleu_2"]) == (15.0, 10.0, 20.0)
    assert told["expected_bleu"] == pytest.approx((told["expected_bleu_1"] + told["expected_bleu_2"]) / 2, abs=0.01)
    assert told["expected_bleu_1"] != told["expected_bleu_2"]


def test_a_figure_that_is_no_number_stays_with_its_member(made):
    found = made(student="student.pt,longer_student.pt", update_freq=[2])
    found.lessons.estimator = FakeEstimator("it diverged", measure_after=float("nan"))
    log = found.criterion(found.model, Turn(0, 1, None, 1))[2]
    assert log["_each:expected_bleu_1"] == 0.0 and log["_each:expected_bleu_2"] != log["_each:expected_bleu_2"]


def test_one_student_has_no_numbered_figures(made):
    found = made()
    found.lessons.estimator = FakeEstimator()
    assert not [key for key in found.criterion(found.model, Turn(0, 0, None))[2] if key.endswith("_1")]


def reduced(*logs) -> dict[str, float]:
    metrics.reset()
    with metrics.aggregate() as found:
        DlfTeachingCriterion.reduce_metrics(logs)
    return found.get_smoothed_values()


def figures(bleu, leverage, own):
    return {"_each:expected_bleu": bleu, "_good:expected_bleu_leverage": leverage, "_good:own": own}


def test_logged_figures_are_means_over_episodes_and_over_good_ones():
    good = {"loss": 2.0, "sample_size": 1, "nsentences": 1, **figures(40.0, 3.0, 5.0)}
    bad = {"loss": 0.0, "sample_size": 0, "nsentences": 1, **figures(10.0, 0.0, 0.0)}
    found = reduced(good, bad)
    assert (found["expected_bleu"], found["expected_bleu_leverage"], found["loss"], found["own"]) == (
        25.0,
        3.0,
        2.0,
        5.0,
    )
    assert "bleu" not in found


def test_an_update_of_collapses_alone_logs_no_figures_of_gradients():
    found = reduced({"loss": 0.0, "sample_size": 0, "nsentences": 1, **figures(10.0, 0.0, 0.0)})
    assert found["expected_bleu"] == 10.0 and "expected_bleu_leverage" not in found and "loss" not in found


def test_figures_have_the_digits_that_they_are_worth():
    third = 1 / 3
    each = ("expected_bleu", "student_loss", "forward_s", "bleu")
    names = [f"_each:{name}" for name in each]
    names += [f"_good:{name}" for name in ("expected_bleu_leverage", "dphi_norm", "own", "domega_growth")]
    found = reduced({"loss": third, "sample_size": 1, "nsentences": 1, **dict.fromkeys(names, third)})
    digits = {
        "expected_bleu": 2,
        "student_loss": 4,
        "forward_s": 1,
        "expected_bleu_leverage": 3,
        "dphi_norm": 6,
        "own": 6,
        "loss": 6,
    }
    digits |= {"bleu": 2, "domega_growth": 3}
    assert {name: found[name] for name in digits} == {name: round(third, count) for name, count in digits.items()}


def test_mean_weights_are_logged_in_training_and_validation(made, monkeypatch):
    found = made(regularisers="label_smoothing(start=0.3)")
    found.lessons.estimator = FakeEstimator()
    values = torch.cat([torch.ones(12), torch.tensor([0.25])]).unsqueeze(1).repeat(1, 3)
    found.model = DlfTeacherModel(AttentionTeacher(values, torch.randn(3, 3)), {}).train()
    _, _, log = found.criterion(found.model, Turn(0, 0, None))
    monkeypatch.setattr(found.lessons, "greedy", lambda student, params: CorpusBleu(12.5, ""))
    with torch.no_grad():
        _, _, validated = found.criterion.eval()(found.model, Turn(0, 0, None))
    assert log["_each:w_label_smoothing"] == validated["_each:w_label_smoothing"] == pytest.approx(0.25)
    assert reduced({**figures(40.0, 3.0, 5.0), "_each:w_x": 0.123456, "sample_size": 1, "nsentences": 1, "loss": 1.0})[
        "w_x"
    ] == pytest.approx(0.1235)


def test_other_tasks_are_refused():
    with pytest.raises(InputError, match="the task is a TinyTask: pass --task dlf_teaching, or --criterion dlf"):
        DlfTeachingCriterion.build_criterion(None, TinyTask())
