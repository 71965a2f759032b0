"""Label smoothing that moves along the run, against fairseq's own at each of its values."""

from types import SimpleNamespace

import pytest
import torch
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.translation.students.losses.scheduled_smoothing import ScheduledSmoothing
from tests.translation.students.losses.made_batches import gradients, with_batches
from tests.translation.tiny_runs import STUDENT, parameters, train

DEFAULTS = {
    "label_smoothing": 0.9,
    "label_smoothing_end": 0.1,
    "sentence_avg": False,
    "max_update": 8,
    "max_epoch": 0,
    "update_freq": [1],
    "train_subset": "train",
}


def criterion_of(built, **options):
    built.model.train()
    return ScheduledSmoothing(SimpleNamespace(**{**DEFAULTS, **options}), built.task).train()


@pytest.mark.parametrize(("update", "smoothing"), [(0, 0.9), (4, 0.5), (7, 0.2), (9, 0.1)])
def test_equals_fairseqs_label_smoothing_of_the_moment(tiny, update, smoothing):
    built = with_batches(tiny("lstm", dropout=0.0))
    criterion = criterion_of(built)
    criterion._begin_update(update)
    loss, sample_size, log = criterion(built.model, built.batch)
    wanted, size, other = LabelSmoothedCrossEntropyCriterion(built.task, False, smoothing)(built.model, built.batch)
    assert log["smoothing"] == pytest.approx(smoothing)
    # fairseq computes the loss in float32.
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-6) and sample_size == size
    assert float(log["nll_loss"]) == pytest.approx(float(other["nll_loss"]), rel=1e-6)
    torch.testing.assert_close(gradients(built, loss), gradients(built, wanted), rtol=0, atol=1e-5)


def test_it_may_rise(tiny):
    built = with_batches(tiny("lstm"))
    criterion = criterion_of(built, label_smoothing=0.0, label_smoothing_end=0.6, max_update=3)
    found = []
    for update in range(3):
        criterion._begin_update(update)
        found.append(criterion(built.model, built.batch)[2]["smoothing"])
    assert found == pytest.approx([0.0, 0.2, 0.4])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"label_smoothing": 1.0}, "label_smoothing is 1.0, but must lie in .0, 1. .--label-smoothing"),
        ({"label_smoothing_end": -0.1}, "label_smoothing_end is -0.1, .* .--label-smoothing-end"),
        ({"max_update": 0}, "the schedule of label smoothing needs .*: pass --max-update or --max-epoch"),
    ],
)
def test_options_are_checked(tiny, options, words):
    with pytest.raises(InputError, match=words):
        criterion_of(tiny("lstm"), **options)


def test_a_resumed_run_goes_on_where_it_was(data, tmp_path):
    run = [*STUDENT, "--task=dlf_translation", "--no-dev-bleu", "--disable-validation", "--max-epoch=2"]
    run += ["--criterion=dlf_scheduled_smoothing", "--save-interval-updates=5"]
    train(data, tmp_path / "straight", *run)
    (tmp_path / "resumed").mkdir()
    (tmp_path / "straight" / "checkpoint_2_5.pt").rename(tmp_path / "resumed" / "checkpoint_last.pt")
    train(data, tmp_path / "resumed", *run)
    found, wanted = (parameters(tmp_path / name / "checkpoint_last.pt") for name in ("resumed", "straight"))
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
