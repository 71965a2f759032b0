"""The criterion `dlf_actor_critic`: a critic predicts what each next token adds to BLEU, the student follows it."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple, Optional

import torch
from fairseq.criterions import register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.tasks import FairseqTask
from omegaconf import II
from torch import Tensor, nn

from fairseq_dlf.core.support.checks import require_at_least, require_between
from fairseq_dlf.core.support.seeds import mixed_seed
from fairseq_dlf.core.support.workers import Workers
from fairseq_dlf.translation.bleu.candidates import (
    Candidates,
    Proposals,
    candidate_logits,
    find_candidates,
    token_log_probs,
)
from fairseq_dlf.translation.bleu.decoding import WordJoiner, unwrapped
from fairseq_dlf.translation.bleu.rewards import token_rewards
from fairseq_dlf.translation.hooks.naming import naming_options
from fairseq_dlf.translation.hooks.task_state import keep, kept
from fairseq_dlf.translation.hooks.updates import watch_gaps, watch_steps
from fairseq_dlf.translation.students.losses.criterion import StudentCriterion, TrainingLoss
from fairseq_dlf.translation.students.losses.critic import CriticSettings, CriticTraining, Prefixes

STATE = "actor_critic"
# Options by setting, for the messages of errors.
OPTIONS = {
    "candidates": "--candidates",
    "ce_share": "--ce-share",
    "critic_lr": "--critic-lr",
    "critic_penalty": "--critic-penalty",
    "critic_pretraining": "--critic-pretraining",
    "critic_target_rate": "--critic-target-rate",
    "critic_trace": "--critic-trace",
    "critic_width": "--critic-width",
}


@dataclass
class ActorCriticConfig(FairseqDataclass):
    candidates: int = field(default=1, metadata={"help": "translations sampled from the student for each source"})
    ce_share: float = field(
        default=0.1, metadata={"help": "share of plain cross-entropy in the student's loss, from 0 to 1"}
    )
    critic_pretraining: int = field(
        default=500, metadata={"help": "updates at the beginning in which only the critic learns"}
    )
    critic_width: int = field(default=256, metadata={"help": "width of the critic's embeddings and hidden states"})
    critic_lr: float = field(default=1e-3, metadata={"help": "learning rate of the critic's Adam"})
    critic_target_rate: float = field(
        default=1e-3,
        metadata={"help": "share of the critic that its target network takes over with each update; 1 needs no other"},
    )
    critic_penalty: float = field(
        default=1e-3, metadata={"help": "weight of the squared deviations of a prefix's values from their mean"}
    )
    critic_trace: float = field(
        default=0.0,
        metadata={
            "help": "share of the sampled rewards to come in what the critic learns, from 0 (the target network's "
            "prediction, as published) to 1 (the sampled rewards alone)"
        },
    )
    sentence_avg: bool = II("optimization.sentence_avg")
    seed: int = II("common.seed")


# Formulas ---------------------------------------------------------------------


class Policy(NamedTuple):
    """What the student would do after each prefix of the sampled translations.

    Attributes:
        probs: p(a | ŷ_1..t−1), (rows, length, types), with a graph; 0 for padding, which is never an action.
        taken: ŷ_t, (rows, length), int64, padded on the right.
        real: False at padding, (rows, length), bool.
    """

    probs: Tensor
    taken: Tensor
    real: Tensor


def policy_of(logits: Tensor, taken: Tensor, padding: int) -> Policy:
    """Return the student's policy, in float32 or better.

    Args:
        logits: (rows, length, types).
        taken: (rows, length), int64.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    is_padding = torch.arange(logits.size(-1), device=logits.device) == padding
    return Policy(logits.masked_fill(is_padding, -torch.inf).softmax(-1), taken, taken != padding)


def critic_targets(rewards: Tensor, policy: Policy, slow_values: Tensor, trace: float) -> Tensor:
    """Return q_t, which Q(ŷ_t | ŷ_1..t−1) is to equal, (rows, length), without a graph; 0 at padding.

    q_t = r_t + (1 − trace) · Σ_a p(a | ŷ_1..t) Q'(a | ŷ_1..t) + trace · q_t+1, and q_T = r_T.

    Args:
        rewards: r_t, (rows, length); 0 at padding.
        slow_values: Q', (rows, length, types).
        trace: 0 is the published target; with 1 it is the sum of the rewards to come, without Q'.
    """
    with torch.no_grad():
        predicted = (policy.probs * slow_values).sum(-1).masked_fill(~policy.real, 0.0)
        targets = torch.zeros_like(predicted)
        after, expected = predicted.new_zeros(len(predicted)), predicted.new_zeros(len(predicted))
        for step in reversed(range(predicted.size(1))):
            after = rewards[:, step].to(predicted) + (1.0 - trace) * expected + trace * after
            targets[:, step], expected = after, predicted[:, step]
    return targets


def critic_loss(values: Tensor, policy: Policy, targets: Tensor, penalty: float, padding: int) -> Tensor:
    """Return Σ_t (Q(ŷ_t) − q_t)² + λ Σ_t Σ_a (Q(a) − mean_a Q)², summed over all translations.

    Args:
        values: Q, (rows, length, types), with a graph.
        targets: q_t, (rows, length).
        penalty: λ. It keeps the values of tokens that are rarely sampled from growing without a check.
        padding: which is no action, and has no part in the mean.
    """
    values = values[policy.real]
    taken = values.gather(-1, policy.taken[policy.real].unsqueeze(-1)).squeeze(-1)
    actions = torch.arange(values.size(-1), device=values.device) != padding
    mean = (values * actions).sum(-1, keepdim=True) / (values.size(-1) - 1)
    spread = ((values - mean) * actions).square().sum()
    return (taken - targets[policy.real].to(values)).square().sum() + penalty * spread


def actor_loss(policy: Policy, values: Tensor) -> Tensor:
    """Return −Σ_t Σ_a p(a | ŷ_1..t−1) Q(a | ŷ_1..t−1), summed over all translations; Q has no gradient."""
    return -(policy.probs * values.detach()).sum(-1).masked_fill(~policy.real, 0.0).sum()


# The criterion ----------------------------------------------------------------


@register_criterion("dlf_actor_critic", dataclass=ActorCriticConfig)
class ActorCriticCriterion(StudentCriterion):
    """Actor-critic training on sentence BLEU.

    loss = (1 − ce_share) · Σ_sentences mean over samples of Σ_t Σ_a −p(a) Q(a) + ce_share · Σ_tokens cross-entropy,
    where the first sum is scaled so that fairseq's division by the sample size makes means over sentences of the
    one and means over tokens of the other. Samples are drawn without dropout from the present student; the authors
    draw them from one that follows slowly, which would double the checkpoint. The student's p, in the critic's
    targets too, is that of a pass with dropout.

    While the critic learns alone, the student's gradient is exactly 0. Its optimiser steps all the same: with weight
    decay, or with momentum of earlier updates, it would still move the student.

    Cost: one sampled decoding, and one pass of the student over samples and references with one encoding of each
        source; three of the critic over the samples, one of them backwards.
    Paper: Bahdanau et al. (2017), algorithm 1.
    """

    figures = ("critic_loss", "sample_bleu", "q_taken")

    def __init__(self, cfg: ActorCriticConfig, task: FairseqTask):
        super().__init__(cfg, task)
        with naming_options(OPTIONS):
            require_between(0.0, 1.0, ce_share=cfg.ce_share)
            require_at_least(0, critic_pretraining=cfg.critic_pretraining)
            self.proposals = Proposals(cfg.candidates, with_reference=True, distinct=False, shortest=0)
            self.settings = CriticSettings(
                cfg.critic_width, cfg.critic_lr, cfg.critic_target_rate, cfg.critic_penalty, cfg.critic_trace
            )
        self.words = WordJoiner(task.target_dictionary)
        self.learning: Optional[CriticTraining] = None
        self._fills_gap = False
        watch_gaps(task, self._begin_batch)
        watch_steps(task, self._finish_update)

    def training_loss(self, model: nn.Module, sample: dict[str, Any]) -> TrainingLoss:
        student = unwrapped(model)
        seed = mixed_seed(self.cfg.seed, self.update, *sample["id"].tolist())
        candidates = find_candidates(self.task, student, sample, self.proposals, seed)
        logits = candidate_logits(model, student, candidates)
        # The reference is each sentence's last candidate.
        is_reference = candidates.owners[1] == self.cfg.candidates
        nll = -token_log_probs(logits[is_reference], candidates.targets[is_reference], self.padding_idx).sum()
        policy = policy_of(logits[~is_reference], candidates.targets[~is_reference], self.padding_idx)
        learning = self._learning(policy.probs)
        values, figures = self._teach_critic(learning, candidates, is_reference, policy)
        if learning.updates < self.cfg.critic_pretraining:
            return TrainingLoss(0.0 * nll, nll.detach(), figures)
        scale = self.sample_size(sample) / (len(sample["target"]) * self.cfg.candidates)
        sequence = scale * actor_loss(policy, values)
        share = self.cfg.ce_share
        return TrainingLoss((1.0 - share) * sequence + share * nll, nll.detach(), figures)

    def _teach_critic(
        self, learning: CriticTraining, candidates: Candidates, is_reference: Tensor, policy: Policy
    ) -> tuple[Tensor, dict[str, float]]:
        """Add the critic's gradient on a batch to those of the update; return Q, without a graph, and figures."""
        references = candidates.targets[is_reference]
        owners = candidates.owners[0, ~is_reference]
        prefixes = Prefixes(candidates.batch["prev_output_tokens"][~is_reference], references, owners)
        rewards = token_rewards(self.words, policy.taken, list(references[owners]))
        with torch.no_grad():
            slow_values = learning.target(prefixes)
        values = learning.critic(prefixes)
        targets = critic_targets(rewards, policy, slow_values, self.settings.trace)
        loss = critic_loss(values, policy, targets, self.settings.penalty, self.padding_idx)
        if not self._fills_gap:
            learning.add_loss(loss, sentences=len(owners))
        values = values.detach()
        tokens = int(policy.real.sum())
        taken = values.gather(-1, policy.taken.unsqueeze(-1)).squeeze(-1)[policy.real]
        return values, {
            "critic_loss": loss.item() / tokens,
            "sample_bleu": rewards.sum().item() / len(owners),
            "q_taken": taken.mean().item(),
        }

    def _learning(self, like: Tensor) -> CriticTraining:
        """Return the critic of this run; it is made, or restored, at the first batch."""
        if self.learning is None:
            seed = mixed_seed(self.cfg.seed, 1)
            dictionary = self.task.target_dictionary
            self.learning = CriticTraining(dictionary, self.settings, like.device, like.dtype, seed)
            state = kept(self.task, STATE)
            if state is not None:
                with naming_options(OPTIONS):
                    self.learning.load_state_dict(state)
            keep(self.task, STATE, self.learning.state_dict())
        return self.learning

    def _begin_batch(self, fills_gap: bool) -> None:
        self._fills_gap = fills_gap

    def _finish_update(self) -> None:
        if self.learning is not None:
            self.learning.step(Workers.of_this_run(shared=True))
            keep(self.task, STATE, self.learning.state_dict())
