"""The critic's and the actor's formulas against loops over rows, tokens and types."""

from types import SimpleNamespace

import pytest
import torch

from fairseq_dlf.translation.bleu.scoring import TokenScores
from fairseq_dlf.translation.students.losses.actor_critic import actor_losses
from fairseq_dlf.translation.students.losses.critic import critic_loss, critic_targets
from fairseq_dlf.translation.students.losses.policy import policy_of
from fairseq_dlf.translation.students.losses.scored import Scored

PAD, END, TYPES = 1, 2, 7


@pytest.fixture
def batch():
    """Three translations of 5, 1 and 3 tokens, with random logits, values and rewards in float64."""
    torch.manual_seed(4)
    taken = torch.tensor([[4, 5, 5, 6, 2], [2, PAD, PAD, PAD, PAD], [3, 4, 2, PAD, PAD]])
    drawn = [torch.randn(3, 5, TYPES, dtype=torch.float64) for _ in range(3)]
    made = SimpleNamespace(taken=taken, logits=drawn[0], values=drawn[1], slow=drawn[2], lengths=[5, 1, 3])
    made.longest = 4
    made.rewards = torch.rand(3, 5, dtype=torch.float64).masked_fill(taken == PAD, 0.0)
    return made


def policy(batch):
    """The policy, with a reference below that is wider than the translations."""
    wide = torch.full((4, 7), PAD)
    wide[:3, :5], wide[3] = batch.taken, END
    real = batch.taken != PAD
    logits = torch.cat([batch.logits[real], torch.randn(7, TYPES).to(batch.logits)])
    candidates = SimpleNamespace(targets=batch.taken, owners=torch.zeros(2, 3))
    return policy_of(Scored(candidates, TokenScores(logits, wide, PAD), None, None, batch.longest), END)


def probs_of(batch, row, step):
    """p(a) by token: of all but padding, and of the end alone after the longest translation."""
    actions = [a for a in range(TYPES) if a != PAD] if step < batch.longest else [END]
    weights = {a: batch.logits[row, step, a].exp().item() for a in actions}
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
    batch.logits.requires_grad_()
    found = critic_targets(batch.rewards, policy(batch), batch.slow, trace)
    assert not found.requires_grad
    wanted = torch.zeros(3, 5, dtype=torch.float64)
    for where, value in wanted_targets(batch, trace).items():
        wanted[where] = value
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


def test_a_full_trace_is_the_sum_of_the_rewards_to_come(batch):
    found = critic_targets(batch.rewards, policy(batch), batch.slow, trace=1.0)
    torch.testing.assert_close(found, batch.rewards.flip(1).cumsum(1).flip(1), rtol=0, atol=1e-12)


def test_the_critics_loss_and_gradient_equal_a_loop(batch):
    penalty, values = 0.3, batch.values.requires_grad_()
    targets = critic_targets(batch.rewards, policy(batch), batch.slow, 0.0)
    loss = critic_loss(values, policy(batch), targets, penalty, PAD)
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
    losses = actor_losses(policy(batch), values)
    losses.sum().backward()
    wanted, gradient = [0.0, 0.0, 0.0], torch.zeros_like(logits)
    for row, length in enumerate(batch.lengths):
        for step in range(length):
            probs = probs_of(batch, row, step)
            expected = sum(p * values[row, step, a].item() for a, p in probs.items())
            wanted[row] -= expected
            for a, p in probs.items():
                gradient[row, step, a] = -p * (values[row, step, a].item() - expected)
    assert values.grad is None
    assert losses.tolist() == pytest.approx(wanted, rel=1e-12)
    torch.testing.assert_close(logits.grad, gradient, rtol=0, atol=1e-10)


def test_half_precision_logits_give_a_float32_policy(batch):
    batch.logits = batch.logits.bfloat16()
    found = policy(batch)
    assert found.probs.dtype == torch.float32
    assert not found.probs[..., PAD].any()


def test_after_the_longest_translation_there_is_only_the_end(batch):
    probs = policy(batch).probs
    assert probs[:, 4, END].tolist() == [1.0, 1.0, 1.0]
    assert probs[:, :4, END].max() < 1.0
