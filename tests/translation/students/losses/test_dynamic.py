"""The criterion as fairseq calls it: values, what is logged, what it holds, when BLEU is measured."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fairseq.criterions.cross_entropy import CrossEntropyCriterion
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion
from fairseq.data.iterators import EpochBatchIterator
from fairseq.logging import metrics

from fairseq_dlf.core.support.errors import InputError, MissingFileError
from fairseq_dlf.core.teaching.forms import FORMS
from fairseq_dlf.core.teaching.teacher_file import write_teacher
from fairseq_dlf.core.teaching.teachers import AttentionTeacher, StaticTeacher
from fairseq_dlf.translation.bleu import progress as bleu_progress
from fairseq_dlf.translation.bleu.decoding import fixed_sample
from fairseq_dlf.translation.bleu.progress import FEATURES
from fairseq_dlf.translation.bleu.scores import CorpusBleu
from fairseq_dlf.translation.hooks.task_state import keep, restore
from fairseq_dlf.translation.students.losses.dynamic import DlfCriterion
from fairseq_dlf.translation.teachers.files import header_of

DEFAULTS = {
    "teacher": None,
    "form": None,
    "regularisers": None,
    "coefficients": None,
    "ce_share": 0.0,
    "label_smoothing": 0.0,
    "progress_interval": 0,
    "progress_sentences": None,
    "sentence_avg": False,
    "max_update": 10,
    "max_epoch": 0,
    "update_freq": [1],
    "train_subset": "train",
    "valid_subset": "valid",
    "seed": 1,
}


@pytest.fixture
def made(tiny):
    """A tiny LSTM without dropout, its task with data, and a batch with padding."""
    built = tiny("lstm", dropout=0.0)
    pairs = built.task.pairs(8, seed=2)
    built.batch = pairs.collater([pairs[i] for i in range(4)])
    built.task.datasets = {"train": pairs, "valid": built.task.pairs(6, seed=3)}
    batches = [np.array([2 * i, 2 * i + 1]) for i in range(4)]
    built.iterator = EpochBatchIterator(pairs, pairs.collater, batches)
    built.task.dataset_to_epoch_iter = {pairs: built.iterator}
    assert (built.batch["target"] == built.task.target_dictionary.pad()).any()
    return built


def criterion_of(made, **options):
    # Few sentences, as the data sets of these tests are small.
    few = {"progress_sentences": 4} if options.get("teacher") else {}
    criterion = DlfCriterion(SimpleNamespace(**{**DEFAULTS, **few, **options}), made.task)
    made.model.train()
    return criterion.train()


@pytest.fixture
def teacher_file(made, tmp_path):
    """A teacher whose coefficients depend on s."""
    dictionary = made.task.target_dictionary
    teacher = AttentionTeacher(torch.rand(len(dictionary), 5), torch.randn(5, len(FEATURES)))
    header = header_of("attention", "diagonal", dictionary, "dlf|test")
    path = tmp_path / "teacher.safetensors"
    write_teacher(path, teacher, header)
    return SimpleNamespace(path=str(path), teacher=teacher)


def test_constant_coefficients_equal_the_formula(made):
    loss, sample_size, log = criterion_of(made, coefficients=2.0)(made.model, made.batch)
    logits = made.model(**made.batch["net_input"])[0]
    log_p = torch.log_softmax(logits, -1).gather(-1, made.batch["target"].unsqueeze(-1)).squeeze(-1)
    real = made.batch["target"] != made.task.target_dictionary.pad()
    assert loss.item() == pytest.approx(-torch.sigmoid(2 * log_p)[real].sum().item(), rel=1e-12)
    assert log["nll_loss"].item() == pytest.approx(-log_p[real].sum().item(), rel=1e-12)
    assert sample_size == log["ntokens"] == real.sum().item()
    assert (log["phi_mean"], log["phi_sd"]) == (2.0, 0.0)


def test_without_coefficients_or_teacher_all_are_one(made):
    default, _, _ = criterion_of(made)(made.model, made.batch)
    ones, _, _ = criterion_of(made, coefficients=1.0)(made.model, made.batch)
    assert default.item() == ones.item() != 0


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_full_share_is_fairseqs_criterion_with_its_gradient(made, smoothing):
    ours = criterion_of(made, ce_share=1.0, label_smoothing=smoothing)
    made.model.float()
    if smoothing:
        theirs = LabelSmoothedCrossEntropyCriterion(made.task, False, smoothing)
    else:
        theirs = CrossEntropyCriterion(made.task, False)
    gradients = []
    for criterion in (ours, theirs):
        made.model.zero_grad()
        loss, sample_size, log = criterion(made.model, made.batch)
        loss.backward()
        gradients.append((loss.item(), sample_size, [p.grad.clone() for p in made.model.parameters()]))
    assert gradients[0][0] == pytest.approx(gradients[1][0], rel=1e-6)
    assert gradients[0][1] == gradients[1][1]
    for mine, other in zip(gradients[0][2], gradients[1][2], strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("training", [(False, False), (True, False)])
def test_validation_is_plain_cross_entropy(made, training):
    """Also where fairseq has set the model alone to evaluate, as for the BLEU in s_t."""
    criterion = criterion_of(made, coefficients=3.0, ce_share=0.5, label_smoothing=0.1).train(training[0])
    made.model.train(training[1])
    loss, _, log = criterion(made.model, made.batch)
    wanted, _, _ = CrossEntropyCriterion(made.task, False).eval()(made.model, made.batch)
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-6)
    assert "phi_mean" not in log


def test_half_precision_students_get_a_float32_loss(made):
    criterion = criterion_of(made)
    made.model.bfloat16()
    loss, _, log = criterion(made.model, made.batch)
    assert loss.dtype == torch.float32
    loss.backward()
    assert all(p.grad.dtype == torch.bfloat16 for p in made.model.parameters() if p.grad is not None)
    assert log["nll_loss"].item() > 0


@pytest.mark.parametrize("sentence_avg", [False, True])
def test_sample_size_follows_sentence_avg(made, sentence_avg):
    _, sample_size, _ = criterion_of(made, sentence_avg=sentence_avg)(made.model, made.batch)
    assert sample_size == (4 if sentence_avg else made.batch["ntokens"])


def step(made, criterion, update):
    """One train step as fairseq's trainer takes it; returns what is logged."""
    optimizer = SimpleNamespace(backward=lambda loss: loss.backward())
    return made.task.train_step(made.batch, made.model, criterion, optimizer, update)[2]


def test_the_teacher_sees_the_progress_of_the_student(made, teacher_file, monkeypatch):
    scores = iter([20.0, 10.0])
    monkeypatch.setattr(bleu_progress, "greedy_bleu", lambda *a: CorpusBleu(next(scores), ""))
    log = step(made, criterion_of(made, teacher=teacher_file.path), update=4)
    assert (log["s_updates"], log["s_train_bleu"], log["s_dev_bleu"]) == (0.4, 0.2, 0.1)
    phi = teacher_file.teacher.along(torch.tensor([[0.4, 0.2, 0.1]]))[0]
    assert log["phi_mean"] == pytest.approx(phi.mean().item(), rel=1e-6)
    assert log["phi_sd"] > 0


def test_the_teacher_is_no_part_of_criterion_or_student(made, teacher_file):
    criterion = criterion_of(made, teacher=teacher_file.path, progress_sentences=0)
    step(made, criterion, update=0)
    assert not list(criterion.parameters())
    assert not criterion.state_dict()


@pytest.mark.parametrize(
    ("interval", "measured_at"),
    [(0, [(1, 0), (2, 4)]), (2, [(1, 0), (1, 2), (2, 4), (2, 6)]), (3, [(1, 0), (1, 3), (2, 4), (2, 7)])],
)
def test_bleu_is_measured_at_epochs_and_intervals(made, teacher_file, monkeypatch, interval, measured_at):
    asked = []

    def spy(task, model, dataset, indices):
        asked.append((made.iterator.epoch, update))
        return CorpusBleu(30.0, "")

    monkeypatch.setattr(bleu_progress, "greedy_bleu", spy)
    criterion = criterion_of(made, teacher=teacher_file.path, progress_interval=interval)
    for update in range(8):
        made.iterator.epoch = 1 + update // 4
        step(made, criterion, update)
        step(made, criterion, update)  # a second batch of the same update (--update-freq 2)
    assert asked == [when for when in measured_at for _ in ("train", "dev")]


def test_measured_bleu_survives_a_resume(made, teacher_file, monkeypatch):
    monkeypatch.setattr(bleu_progress, "greedy_bleu", lambda *a: CorpusBleu(33.3, ""))
    before = step(made, criterion_of(made, teacher=teacher_file.path), update=0)
    saved = made.task.get_checkpoint_dict()
    vars(made.task).pop("dlf_live_state")  # another process has another task
    restore(made.task, saved, updates=1)
    monkeypatch.setattr(bleu_progress, "greedy_bleu", None)
    after = step(made, criterion_of(made, teacher=teacher_file.path), update=1)
    assert after["s_dev_bleu"] == before["s_dev_bleu"] == pytest.approx(0.333)


@pytest.mark.parametrize(
    ("limits", "wanted"),
    [
        ({"max_update": 10, "max_epoch": 0}, 0.2),
        ({"max_update": 0, "max_epoch": 2}, 0.25),
        ({"max_update": 0, "max_epoch": 2, "update_freq": [2]}, 0.5),
        ({"max_update": 1, "max_epoch": 2}, 1.0),
    ],
)
def test_the_length_of_the_run_is_known_from_its_limits(made, teacher_file, monkeypatch, limits, wanted):
    monkeypatch.setattr(bleu_progress, "greedy_bleu", lambda *a: CorpusBleu(30.0, ""))
    log = step(made, criterion_of(made, teacher=teacher_file.path, **limits), update=2)
    assert log["s_updates"] == wanted


def test_logged_figures_sum_over_workers(made):
    metrics.reset()
    # As with --sentence-avg: a loss per sentence, cross-entropy per token.
    log = {"loss": 2.0, "nll_loss": 8.0, "ntokens": 4, "sample_size": 2, "dlf_logs": 1, "phi_mean": 3.0, "phi_sd": 1.0}
    summed = {name: 2 * value for name, value in log.items()}
    with metrics.aggregate() as found:
        DlfCriterion.reduce_metrics([summed])
    values = found.get_smoothed_values()
    assert values["loss"] == pytest.approx(1.0 / np.log(2), abs=1e-3)
    assert values["nll_loss"] == pytest.approx(2.0 / np.log(2), abs=1e-3)
    assert (values["phi_mean"], values["phi_sd"]) == (3.0, 1.0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"teacher": "t.pt", "max_update": 0}, "pass --max-update or --max-epoch"),
        ({"coefficients": float("inf")}, "--coefficients is inf"),
        ({"teacher": "t.pt", "progress_sentences": -1}, "--progress-sentences -1"),
        ({"teacher": "t.pt", "progress_interval": -1}, "--progress-interval -1"),
        ({"teacher": ""}, "the teacher's file has an empty name: pass --teacher FILE"),
        ({"teacher": "t.pt", "coefficients": 1.0}, "--coefficients 1.0 would be ignored, .* the teacher chooses"),
        ({"progress_sentences": 50}, "--progress-sentences 50 would be ignored, .* pass --teacher, or leave it out"),
        ({"teacher": "t.pt", "regularisers": "r_drop"}, "--regularisers r_drop would be ignored, .* file names them"),
        ({"regularisers": "r_dorp"}, r"no regulariser named 'r_dorp': .* \(--regularisers\)"),
        ({"progress_interval": 5}, "--progress-interval 5 would be ignored"),
        ({"label_smoothing": 0.1}, "--label-smoothing 0.1 would be ignored, .*--ce-share is 0"),
        ({"ce_share": -0.5}, "ce_share is -0.5"),
        ({"label_smoothing": 1.0}, "label_smoothing is 1.0"),
    ],
)
def test_options_are_checked(made, options, words):
    with pytest.raises(ValueError, match=words):
        criterion_of(made, **options)


def test_sharded_training_data_is_refused(made, teacher_file):
    made.task.dataset_to_epoch_iter = {}
    with pytest.raises(RuntimeError, match="merge the shards"):
        step(made, criterion_of(made, teacher=teacher_file.path), update=0)


def test_a_dev_set_shorter_than_asked_is_named(made, teacher_file):
    criterion = criterion_of(made, teacher=teacher_file.path, progress_sentences=7)
    with pytest.raises(ValueError, match="7 sentences were asked for, the data set has 6"):
        step(made, criterion, update=0)


# What s_t is measured on -------------------------------------------------------


def test_train_and_dev_are_measured_on_fixed_samples_of_the_seed(made, teacher_file, monkeypatch):
    measured = []

    def spy(task, model, dataset, indices):
        measured.append((dataset, list(indices)))
        return CorpusBleu(10.0 * len(measured), "")

    monkeypatch.setattr(bleu_progress, "greedy_bleu", spy)
    made.task.datasets["other"] = None
    found = []
    for seed in (1, 1, 2):
        keep(made.task, "progress", None)
        measured.clear()
        log = step(made, criterion_of(made, teacher=teacher_file.path, seed=seed, valid_subset="valid,other"), 0)
        assert [dataset for dataset, _ in measured] == [made.task.datasets["train"], made.task.datasets["valid"]]
        assert (log["s_train_bleu"], log["s_dev_bleu"]) == (0.1, 0.2)
        found.append([indices for _, indices in measured])
    assert found[0] == found[1] != found[2]
    for (dataset, _), seed, indices in zip(measured, (2, 2), found[2], strict=True):
        assert indices == list(fixed_sample(dataset, 4, seed))


def test_accumulated_batches_of_an_epoch_count_as_updates_begun(made, teacher_file, monkeypatch):
    """Four batches by three are two updates an epoch, the second of one batch; the last factor holds from then on."""
    monkeypatch.setattr(bleu_progress, "greedy_bleu", lambda *a: CorpusBleu(30.0, ""))
    limits = {"max_update": 0, "max_epoch": 2}
    log = step(made, criterion_of(made, teacher=teacher_file.path, update_freq=[1, 3], **limits), update=1)
    assert log["s_updates"] == 0.25


# Forms and kinds of teachers ------------------------------------------------------


def test_the_neutral_coefficients_of_all_forms_are_one_loss(made):
    """The neutral matrix gives what the neutral diagonal gives; other constants multiply both, but not shares.

    A loss network has no neutral coefficients.
    """
    for constant, others in ((None, {"loss_network"}), (2.0, {"shares", "loss_network"})):
        losses = {
            float(criterion_of(made, form=form, coefficients=constant)(made.model, made.batch)[0])
            for form in set(FORMS) - others
        }
        assert max(losses) - min(losses) < 1e-9


def test_an_unknown_form_is_named(made):
    with pytest.raises(InputError, match=r"no form named 'round': .* \(--form\)"):
        criterion_of(made, form="round")


def test_the_form_is_the_teachers_own(made, tmp_path):
    dictionary = made.task.target_dictionary
    phi = torch.rand(len(dictionary) ** 2)
    path = tmp_path / "teacher.safetensors"
    write_teacher(path, StaticTeacher(phi), header_of("static", "matrix", dictionary, "dlf|test"))
    criterion = criterion_of(made, teacher=str(path), progress_sentences=0)
    assert criterion.loss.form.spec == "matrix"
    loss, _, log = criterion(made.model, made.batch)
    logits = made.model(**made.batch["net_input"])[0]
    wanted = criterion.loss(logits, made.batch["target"], phi.to(logits.dtype)).loss
    assert loss.item() == pytest.approx(wanted.item())
    assert log["phi_mean"] == pytest.approx(phi.mean().item())
    with pytest.raises(InputError, match="--form diagonal would be ignored, for the teacher's file names the form"):
        criterion_of(made, teacher=str(path), form="diagonal")


def test_teachers_that_remember_are_refused(made, teacher_file, monkeypatch):
    monkeypatch.setattr(AttentionTeacher, "start", lambda self: (torch.zeros(1),))
    with pytest.raises(InputError, match=r"the kind attention, which remembers .* pass a teacher without one"):
        criterion_of(made, teacher=teacher_file.path)


def test_the_teacher_is_read_when_training_begins_only(made):
    criterion = DlfCriterion(SimpleNamespace(**{**DEFAULTS, "teacher": "gone.pt"}), made.task)
    criterion.eval()
    with pytest.raises(MissingFileError, match=r"teacher file gone.pt does not exist: .* \(--teacher\)"):
        criterion.train()
