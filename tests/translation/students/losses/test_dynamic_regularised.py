"""The criterion `dlf` with regularisers: weights from a teacher's file or constant ones, its log, what is refused."""

from types import SimpleNamespace

import pytest
import torch
from fairseq.criterions.cross_entropy import CrossEntropyCriterion
from fairseq.logging import metrics

from fairseq_dlf.core.support.errors import StateError
from fairseq_dlf.core.teaching.teacher_file import write_teacher
from fairseq_dlf.core.teaching.teachers import ScheduleTeacher
from fairseq_dlf.translation.bleu import progress as bleu_progress
from fairseq_dlf.translation.bleu.scores import CorpusBleu
from fairseq_dlf.translation.episodes.checkpoints import translation_objective
from fairseq_dlf.translation.episodes.past import PAST
from fairseq_dlf.translation.students.losses.dynamic import DlfCriterion
from fairseq_dlf.translation.students.losses.r_drop import RDrop
from fairseq_dlf.translation.teachers.files import header_of
from tests.translation.students.losses.made_batches import step, with_batches
from tests.translation.students.losses.test_dynamic import criterion_of

PLAIN = "bins(number=1,linear=1)"  # cross-entropy, with Φ = (1, 0)


@pytest.fixture
def made(tiny):
    """Builds a tiny LSTM with data, by its dropout."""
    return lambda dropout=0.3: with_batches(tiny("lstm", dropout))


def test_the_weights_are_the_teachers_own(made, tmp_path, monkeypatch):
    """A file needs no further option; what is minimised is the loss of episodes, with the weights for s."""
    built = made()
    monkeypatch.setattr(bleu_progress, "greedy_bleu", lambda *a: CorpusBleu(30.0, ""))
    dictionary, names = built.task.target_dictionary, "r_drop,self_distillation,label_smoothing"
    knots = torch.tensor([[1.0, 0.5], [0.2, 0.0], [0.0, 5.0], [1.0, 0.0], [0.5, 0.5]])
    path = tmp_path / "teacher.safetensors"
    write_teacher(path, ScheduleTeacher(knots), header_of("schedule", PLAIN, dictionary, "dlf|test", names))
    criterion = criterion_of(built, teacher=str(path))
    step(built, criterion, update=0)  # the past self is the student of now
    with torch.no_grad():
        for parameter in built.model.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(4)
    log = step(built, criterion, update=4)
    vector = (knots[:, 0] + 0.4 * (knots[:, 1] - knots[:, 0])).double()
    assert [log[f"w_{name}"] for name in names.split(",")] == pytest.approx(vector[2:].tolist())
    assert (log["phi_mean"], log["phi_sd"]) == pytest.approx((vector[:2].mean().item(), vector[:2].std(False).item()))
    past = criterion._past.probs(built.model, 1, built.batch["net_input"])
    torch.manual_seed(4)
    objective = translation_objective(criterion.loss)
    wanted = objective(built.model, vector, {**built.batch, PAST: past}) * built.batch["ntokens"]
    assert log["loss"].item() == pytest.approx(wanted.item(), rel=1e-6)
    assert all(log[name] > 1e-6 for name in names.split(","))


def test_r_drop_with_a_constant_weight_is_its_criterion(made):
    built = made()
    ours = criterion_of(built, form=PLAIN, regularisers="r_drop(start=5)")
    theirs = RDrop(SimpleNamespace(r_drop_weight=5.0, label_smoothing=0.0, sentence_avg=False), built.task).train()
    logs = []
    for criterion in (ours, theirs):
        torch.manual_seed(4)
        logs.append(criterion(built.model, built.batch)[2])
    for name in ("loss", "nll_loss"):
        assert logs[0][name].item() == pytest.approx(logs[1][name].item(), rel=1e-6)
    assert logs[0]["w_r_drop"] == 5.0 and 2 * logs[0]["r_drop"] == pytest.approx(logs[1]["r_drop_kl"])


def test_constant_coefficients_leave_constant_weights_alone(made):
    built = made()
    log = criterion_of(built, coefficients=2.0, regularisers="label_smoothing(start=0.5)")(built.model, built.batch)[2]
    assert (log["w_label_smoothing"], log["phi_mean"]) == (0.5, 2.0)


def test_r_drop_without_dropout_is_refused_at_the_first_batch_only(made):
    without = made(dropout=0.0)
    with pytest.raises(StateError, match="the regulariser r_drop agree, .* --dropout 0.3"):
        step(without, criterion_of(without, regularisers="r_drop"), update=0)
    built = made()
    criterion = criterion_of(built, regularisers="r_drop")
    assert step(built, criterion, update=0)["r_drop"] > 1e-9
    assert step(without, criterion, update=1)["r_drop"] < 1e-11


def test_validation_of_regularised_students_is_plain_cross_entropy(made):
    built = made(dropout=0.0)
    criterion = criterion_of(built, regularisers="r_drop(start=3),self_distillation(start=2)").eval()
    loss, _, log = criterion(built.model, built.batch)
    wanted, _, _ = CrossEntropyCriterion(built.task, False).eval()(built.model, built.batch)
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-6) and "w_r_drop" not in log


def test_the_figures_of_regularisers_are_logged():
    log = {"loss": 2.0, "nll_loss": 8.0, "ntokens": 4, "sample_size": 2, "dlf_logs": 2, "w_r_drop": 3.0, "r_drop": 1.0}
    metrics.reset()
    with metrics.aggregate() as found:
        DlfCriterion.reduce_metrics([log])
    values = found.get_smoothed_values()
    assert (values["w_r_drop"], values["r_drop"]) == (1.5, 0.5) and "w_label_smoothing" not in values
