"""The formulas of actor-critic training against loops, and the criterion as fairseq calls it."""

from types import SimpleNamespace

import pytest
import torch
from fairseq.criterions.cross_entropy import CrossEntropyCriterion

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.translation.students.losses.actor_critic import (
    ActorCriticConfig,
    ActorCriticCriterion,
    actor_loss,
    critic_loss,
    critic_targets,
    policy_of,
)

PAD, TYPES = 1, 7


# Formulas ---------------------------------------------------------------------


@pytest.fixture
def batch():
    """Three translations of 5, 1 and 3 tokens, with random logits, values and rewards in float64."""
    torch.manual_seed(4)
    taken = torch.tensor([[4, 5, 5, 6, 2], [2, PAD, PAD, PAD, PAD], [3, 4, 2, PAD, PAD]])
    drawn = [torch.randn(3, 5, TYPES, dtype=torch.float64) for _ in range(3)]
    made = SimpleNamespace(taken=taken, logits=drawn[0], values=drawn[1], slow=drawn[2], lengths=[5, 1, 3])
    made.rewards = torch.rand(3, 5, dtype=torch.float64).masked_fill(taken == PAD, 0.0)
    return made


def probs_of(batch, row, step):
    """p(a) of all tokens but padding, by token."""
    weights = {a: batch.logits[row, step, a].exp().item() for a in range(TYPES) if a != PAD}
    return {a: weight / sum(weights.values()) for a, weight in weights.items()}


def wanted_targets(batch, trace):
    found = {}
    for row, length in enumerate(batch.lengths):
        for step in reversed(range(length)):
            target = batch.rewards[row, step].item()
            if step + 1 < length:
                probs = probs_of(batch, row, step + 1)
                predicted = sum(p * batch.slow[row, step + 1, a].item() for a, p in probs.items())
                target += (1 - trace) * predicted + trace * found[row, step + 1]
            found[row, step] = target
    return found


@pytest.mark.parametrize("trace", [0.0, 0.3, 1.0])
def test_targets_equal_a_loop(batch, trace):
    policy = policy_of(batch.logits.requires_grad_(), batch.taken, PAD)
    found = critic_targets(batch.rewards, policy, batch.slow, trace)
    assert not found.requires_grad
    wanted = torch.zeros(3, 5, dtype=torch.float64)
    for where, value in wanted_targets(batch, trace).items():
        wanted[where] = value
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


def test_a_full_trace_is_the_sum_of_the_rewards_to_come(batch):
    found = critic_targets(batch.rewards, policy_of(batch.logits, batch.taken, PAD), batch.slow, trace=1.0)
    torch.testing.assert_close(found, batch.rewards.flip(1).cumsum(1).flip(1), rtol=0, atol=1e-12)


def test_the_critics_loss_and_gradient_equal_a_loop(batch):
    penalty, values = 0.3, batch.values.requires_grad_()
    policy = policy_of(batch.logits, batch.taken, PAD)
    targets = critic_targets(batch.rewards, policy, batch.slow, 0.0)
    loss = critic_loss(values, policy, targets, penalty, PAD)
    loss.backward()
    wanted, gradient = 0.0, torch.zeros_like(values)
    for row, length in enumerate(batch.lengths):
        for step in range(length):
            q = {a: values[row, step, a].item() for a in range(TYPES) if a != PAD}
            mean, taken = sum(q.values()) / len(q), batch.taken[row, step].item()
            difference = q[taken] - targets[row, step].item()
            wanted += difference**2 + penalty * sum((value - mean) ** 2 for value in q.values())
            gradient[row, step, taken] += 2 * difference
            for a, value in q.items():
                gradient[row, step, a] += 2 * penalty * (value - mean)
    assert loss.item() == pytest.approx(wanted, rel=1e-12)
    torch.testing.assert_close(values.grad, gradient, rtol=0, atol=1e-10)


def test_the_actors_loss_and_gradient_equal_a_loop(batch):
    logits, values = batch.logits.requires_grad_(), batch.values.requires_grad_()
    loss = actor_loss(policy_of(logits, batch.taken, PAD), values)
    loss.backward()
    wanted, gradient = 0.0, torch.zeros_like(logits)
    for row, length in enumerate(batch.lengths):
        for step in range(length):
            probs = probs_of(batch, row, step)
            expected = sum(p * values[row, step, a].item() for a, p in probs.items())
            wanted -= expected
            for a, p in probs.items():
                gradient[row, step, a] = -p * (values[row, step, a].item() - expected)
    assert values.grad is None
    assert loss.item() == pytest.approx(wanted, rel=1e-12)
    torch.testing.assert_close(logits.grad, gradient, rtol=0, atol=1e-10)


def test_half_precision_logits_give_a_float32_policy(batch):
    policy = policy_of(batch.logits.bfloat16(), batch.taken, PAD)
    assert policy.probs.dtype == torch.float32
    assert not policy.probs[..., PAD].any()


# The criterion ----------------------------------------------------------------

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
        ({"candidates": 0}, "candidates is 0, but must be at least 1 .*--candidates"),
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
