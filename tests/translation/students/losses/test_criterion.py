"""What all losses of single tokens share: padding, one-token targets, sums over batches, precision, validation."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fairseq.criterions.cross_entropy import CrossEntropyCriterion

from fairseq_dlf.translation.bleu.decoding import select_rows
from fairseq_dlf.translation.students.losses.r_drop import RDrop
from fairseq_dlf.translation.students.losses.self_distillation import SelfDistillation
from fairseq_dlf.translation.students.losses.sparse_smoothing import SparseSmoothing
from tests.translation.students.losses.made_batches import gradients, step, with_batches

RUN = {"max_update": 10, "max_epoch": 0, "update_freq": [1], "train_subset": "train"}
LOSSES = {
    "r_drop": (RDrop, {"r_drop_weight": 5.0, "label_smoothing": 0.1}),
    "self_distillation": (SelfDistillation, {"distillation_weight": 0.8, "distillation_from_start": True, **RUN}),
    "sparse_smoothing": (SparseSmoothing, {"label_smoothing": 0.1}),
}


def _other_rows_differ(module, given, output):
    """Stands in for dropout: scales the logits of every other row."""
    logits, *more = output
    scale = 1.0 + 0.5 * (torch.arange(len(logits)) % 2).to(logits.dtype)
    return (logits * scale.view(-1, 1, 1) if module.training else logits), *more


@pytest.fixture(params=[(loss, arch) for loss in LOSSES for arch in ("lstm", "transformer")], ids="-".join)
def made(request, tiny):
    """A student without dropout, a batch with a one-token target, and a criterion in the middle of its run."""
    loss, arch = request.param
    built = tiny(arch, dropout=0.0)
    draw, types = np.random.RandomState(2), len(built.task.target_dictionary)
    words = [torch.tensor([*draw.randint(4, types, size=size), 2]) for size in (4, 0, 2, 5, 3, 1, 2, 4)]
    with_batches(built, built.task.paired(words[::-1], words))
    built.model.train()
    kind, options = LOSSES[loss]
    built.criterion_of = lambda **more: kind(SimpleNamespace(**{"sentence_avg": False, **options, **more}), built.task)
    if loss == "r_drop":
        built.model.register_forward_hook(_other_rows_differ)
    built.criterion = built.criterion_of().train()
    step(built, built.criterion, update=5)
    with torch.no_grad():
        for parameter in built.model.parameters():
            parameter += 0.5 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    assert sorted((built.batch["target"] != built.padding).sum(1).tolist()) == [1, 3, 5, 6]
    return built


def found(built, batch):
    loss, sample_size, log = built.criterion(built.model, batch)
    return loss.item(), log["nll_loss"].item(), gradients(built, loss), sample_size


def part_of(built, rows):
    part = select_rows(built.batch, torch.tensor(rows), left_pad_source=True)
    return {**part, "ntokens": int((part["target"] != built.padding).sum())}


def test_padding_has_no_influence(made):
    loss, nll, gradient, size = found(made, made.batch)
    wide = {**made.batch, "net_input": dict(made.batch["net_input"])}
    more = torch.full((4, 3), made.padding)
    wide["target"] = torch.cat([made.batch["target"], more], 1)
    previous = made.batch["net_input"]["prev_output_tokens"]
    wide["net_input"]["prev_output_tokens"] = torch.cat([previous, more], 1)
    wide_loss, wide_nll, wide_gradient, wide_size = found(made, wide)
    assert (wide_loss, wide_nll) == pytest.approx((loss, nll), rel=1e-12)
    assert wide_size == size == 15
    torch.testing.assert_close(wide_gradient, gradient, rtol=0, atol=1e-10)
    assert gradient.norm() > 0.1


def test_parts_of_a_batch_add_up_to_the_whole(made):
    """As with --update-freq, or several workers; one of the parts is a target of one token."""
    loss, nll, gradient, size = found(made, made.batch)
    parts = [found(made, part_of(made, rows)) for rows in ([0, 1], [2], [3])]
    assert min(part[3] for part in parts) == 1
    assert sum(part[3] for part in parts) == size
    assert sum(part[0] for part in parts) == pytest.approx(loss, rel=1e-12)
    assert sum(part[1] for part in parts) == pytest.approx(nll, rel=1e-12)
    torch.testing.assert_close(sum(part[2] for part in parts), gradient, rtol=0, atol=1e-10)


def test_sample_size_follows_sentence_avg(made):
    whole, tokens, _ = made.criterion(made.model, made.batch)
    made.criterion.cfg.sentence_avg = True
    by_sentence, sentences, _ = made.criterion(made.model, made.batch)
    assert (tokens, sentences) == (15, 4)
    assert by_sentence.item() == whole.item()


def test_half_precision_students_get_a_float32_loss(made):
    made.model.bfloat16()
    made.criterion = made.criterion_of().train()
    loss, _, log = made.criterion(made.model, made.batch)
    assert loss.dtype == torch.float32
    loss.backward()
    assert {p.grad.dtype for p in made.model.parameters() if p.grad is not None} == {torch.bfloat16}
    assert all(p.grad.isfinite().all() for p in made.model.parameters() if p.grad is not None)
    assert 0 < log["nll_loss"].item() < float("inf")


@pytest.mark.parametrize("training", [(False, False), (True, False)])
def test_validation_is_plain_cross_entropy(made, training):
    made.criterion.train(training[0])
    made.model.train(training[1])
    loss, _, log = made.criterion(made.model, made.batch)
    wanted, _, _ = CrossEntropyCriterion(made.task, False).eval()(made.model, made.batch)
    assert loss.item() == log["nll_loss"].item() == pytest.approx(wanted.item(), rel=1e-6)
    assert not set(made.criterion.figures) & set(log)


def test_the_student_is_called_once_as_a_whole(made):
    """Wrappers that combine the gradients of several workers see one forward pass."""
    calls = []
    made.model.register_forward_pre_hook(lambda module, given: calls.append(1))
    made.criterion(made.model, made.batch)
    assert calls == [1]


def test_all_figures_are_numbers_of_the_batch(made):
    _, _, log = made.criterion(made.model, made.batch)
    assert set(made.criterion.figures) <= set(log)
    assert all(log[name] > 0 for name in made.criterion.figures)
    assert made.criterion.logging_outputs_can_be_summed()
