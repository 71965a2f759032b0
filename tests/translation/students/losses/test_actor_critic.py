"""The criterion as fairseq calls it: values, gradients, phases, batches of an update, options."""

from types import SimpleNamespace

import pytest
import torch
from fairseq.criterions.cross_entropy import CrossEntropyCriterion

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.translation.students.losses.actor_critic import ActorCriticConfig, ActorCriticCriterion

PAD = 1
FEW = {"critic_width": 4, "critic_pretraining": 0, "critic_target_rate": 0.5, "sentence_avg": False, "seed": 3}


@pytest.fixture
def made(tiny):
    """A tiny LSTM without dropout, its task, and a batch with padding and a target of one word."""
    built = tiny("lstm", dropout=0.0)
    pairs = built.task.pairs(8, seed=2)
    built.batch = pairs.collater([pairs[i] for i in range(4)])
    assert (built.batch["target"] == PAD).any()
    return built


def criterion_of(made, **options):
    criterion = ActorCriticCriterion(ActorCriticConfig(**{**FEW, **options}), made.task)
    made.model.train()
    return criterion.train()


def gradients_of(made, criterion, batch=None):
    """Sample size, log and gradient of one training step, without the optimiser's."""
    made.model.zero_grad()
    optimizer = SimpleNamespace(backward=lambda loss: loss.backward())
    _, sample_size, log = made.task.train_step(batch or made.batch, made.model, criterion, optimizer, update_num=0)
    return sample_size, log, {name: p.grad.clone() for name, p in made.model.named_parameters()}


@pytest.mark.parametrize("arch", ["lstm", "transformer"])
def test_a_full_share_is_fairseqs_cross_entropy(made, tiny, arch):
    made.model = made.model if arch == "lstm" else tiny(arch, dropout=0.0).model
    found = gradients_of(made, criterion_of(made, ce_share=1.0))
    made.model.zero_grad()
    loss, sample_size, _ = CrossEntropyCriterion(made.task, False)(made.model, made.batch)
    loss.backward()
    assert found[0] == sample_size
    assert found[1]["loss"].item() == pytest.approx(loss.item(), rel=1e-6)
    assert found[1]["nll_loss"].item() == pytest.approx(loss.item(), rel=1e-6)
    for name, parameter in made.model.named_parameters():
        torch.testing.assert_close(found[2][name], parameter.grad, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sequence_candidates": 0}, "candidates is 0, but must be at least 1 .*--sequence-candidates"),
        ({"ce_share": 1.5}, "ce_share is 1.5, but must lie between 0 and 1 .*--ce-share"),
        ({"critic_pretraining": -1}, "critic_pretraining is -1, but must not be negative .*--critic-pretraining"),
        ({"critic_width": 0}, "critic_width is 0, but must be at least 1 .*--critic-width"),
        ({"critic_lr": 0.0}, "critic_lr is 0.0, but must be positive .*--critic-lr"),
        ({"critic_lr": float("inf")}, "critic_lr is inf"),
        ({"critic_target_rate": 0.0}, "critic_target_rate is 0.0, but must be positive .*--critic-target-rate"),
        ({"critic_target_rate": 1.5}, "critic_target_rate is 1.5, but must lie between 0 and 1"),
        ({"critic_penalty": -1.0}, "critic_penalty is -1.0, but must not be negative .*--critic-penalty"),
        ({"critic_trace": 2.0}, "critic_trace is 2.0, but must lie between 0 and 1 .*--critic-trace"),
    ],
)
def test_options_are_checked(made, options, words):
    with pytest.raises(InputError, match=words):
        criterion_of(made, **options)
