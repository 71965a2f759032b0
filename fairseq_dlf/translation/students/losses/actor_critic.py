"""The criterion `dlf_actor_critic`: a critic predicts what each next token adds to BLEU, the student follows it."""

from dataclasses import dataclass, field
from typing import Any, Optional

from fairseq.criterions import register_criterion
from fairseq.tasks import FairseqTask
from torch import Tensor, nn

from fairseq_dlf.core.support.checks import require_at_least
from fairseq_dlf.core.support.seeds import mixed_seed
from fairseq_dlf.core.support.workers import Workers
from fairseq_dlf.translation.bleu.candidates import Proposals
from fairseq_dlf.translation.bleu.decoding import WordJoiner
from fairseq_dlf.translation.bleu.rewards import token_rewards
from fairseq_dlf.translation.hooks.launch import option_of
from fairseq_dlf.translation.hooks.naming import naming_options
from fairseq_dlf.translation.hooks.task_state import keep, kept
from fairseq_dlf.translation.hooks.updates import watch_gaps, watch_steps
from fairseq_dlf.translation.students.losses.criterion import TrainingLoss
from fairseq_dlf.translation.students.losses.critic import Prefixes
from fairseq_dlf.translation.students.losses.critic_training import CriticSettings, CriticTraining
from fairseq_dlf.translation.students.losses.policy import Policy, policy_of
from fairseq_dlf.translation.students.losses.scored import Scored
from fairseq_dlf.translation.students.losses.sequence import SequenceConfig, SequenceCriterion, limit_of

STATE = "actor_critic"


@dataclass
class ActorCriticConfig(SequenceConfig):
    sequence_candidates: int = field(
        default=1, metadata={"help": "translations sampled from the student for each source"}
    )
    critic_pretraining: int = field(
        default=500, metadata={"help": "updates at the beginning in which only the critic learns"}
    )
    critic_width: int = field(default=256, metadata={"help": "width of the critic's embeddings and hidden states"})
    critic_lr: float = field(default=1e-3, metadata={"help": "learning rate of the critic's Adam"})
    critic_target_rate: float = field(
        default=1e-3,
        metadata={
            "help": "share of the critic that its target network takes over with each update, from the published "
            "0.001, for tens of thousands of updates, to 1; runs of a few thousand need about 0.1"
        },
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


def actor_losses(policy: Policy, values: Tensor) -> Tensor:
    """Return −Σ_t Σ_a p(a | ŷ_1..t−1) Q(a | ŷ_1..t−1) of each translation, (rows,); Q gets no gradient.

    Args:
        values: Q, (rows, length, types).
    """
    return -(policy.probs * values.detach()).sum(-1).masked_fill(~policy.real, 0.0).sum(-1)


@register_criterion("dlf_actor_critic", dataclass=ActorCriticConfig)
class ActorCriticCriterion(SequenceCriterion):
    """−Σ_t Σ_a p(a) Q(a) after each prefix of a sampled translation, where a critic that also learns predicts Q.

    Samples are drawn without dropout from the present student; the authors draw them from one that follows it
    slowly, which would be one more student in every checkpoint. The student's p, in the critic's targets too, is
    that of the pass with dropout. The authors' 0.1 of cross-entropy counts each sentence by its tokens: in
    sentences of 13 tokens that is about `--ce-share 0.57`.

    While the critic learns alone, the student's gradient is exactly 0. Its optimiser steps all the same: with
    weight decay, or with momentum of earlier updates, it would still move the student.

    Cost: besides that of all sequence losses, three passes of the critic over the samples, one of them backwards,
        and Adam over its parameters.
    Paper: Bahdanau et al. (2017), algorithm 1.
    """

    figures = (*SequenceCriterion.figures, "critic_loss", "q_taken")

    def __init__(self, cfg: ActorCriticConfig, task: FairseqTask):
        super().__init__(cfg, task)
        with naming_options(self.options()):
            require_at_least(0, critic_pretraining=cfg.critic_pretraining)
            self.settings = CriticSettings(
                cfg.critic_width, cfg.critic_lr, cfg.critic_target_rate, cfg.critic_penalty, cfg.critic_trace
            )
        self.words = WordJoiner(task.target_dictionary)
        self.learning: Optional[CriticTraining] = None
        self._fills_gap = False
        watch_gaps(task, self._begin_batch)
        watch_steps(task, self._finish_update)

    @classmethod
    def options(cls) -> dict[str, str]:
        names = ("pretraining", "width", "lr", "target_rate", "penalty", "trace")
        return {f"critic_{name}": option_of(f"critic_{name}") for name in names}

    def checked_proposals(self, cfg: ActorCriticConfig) -> Proposals:
        return Proposals(cfg.sequence_candidates, distinct=False, shortest=0, limit=limit_of(cfg))

    def training_loss(self, model: nn.Module, sample: dict[str, Any]) -> TrainingLoss:
        found = super().training_loss(model, sample)
        # With a full share of cross-entropy nothing is sampled, and no critic is made.
        if self.learning is None:
            return found
        alone = self.learning.updates < self.cfg.critic_pretraining
        loss = 0.0 * found.loss if alone else found.loss
        return found._replace(loss=loss, figures={**found.figures, **self.learning.figures})

    def sentence_losses(self, scored: Scored) -> Tensor:
        policy = policy_of(scored, self.task.target_dictionary.eos())
        losses = actor_losses(policy, self._taught_values(scored, policy))
        return scored.candidates.table(losses).sum(dim=1) / scored.candidates.present.sum(dim=1)

    def _taught_values(self, scored: Scored, policy: Policy) -> Tensor:
        """Return the critic's Q, (rows, length, types), and let it learn from the batch at the end of the update."""
        owners, references = scored.candidates.owners[0], scored.every.targets[scored.reference_rows]
        rewards = token_rewards(self.words, policy.taken, list(references[owners]))
        prefixes = Prefixes(scored.candidates.batch["prev_output_tokens"], references, owners)
        return self._learning(policy.probs).teach(prefixes, policy, rewards, counts=not self._fills_gap)

    def _learning(self, like: Tensor) -> CriticTraining:
        """Return the critic of this run; it is made, or restored, at the first batch.

        Args:
            like: a tensor on the device, and of the precision, that the critic is to have.
        """
        if self.learning is None:
            dictionary, seed = self.task.target_dictionary, mixed_seed(self.cfg.seed)
            self.learning = CriticTraining(dictionary, self.settings, like.device, like.dtype, seed)
            state = kept(self.task, STATE)
            if state is not None:
                with naming_options(self.options()):
                    self.learning.load_state_dict(state)
        return self.learning

    def _begin_batch(self, fills_gap: bool) -> None:
        self._fills_gap = fills_gap

    def _finish_update(self) -> None:
        if self.learning is not None:
            self.learning.step(Workers.of_this_run(shared=True))
            keep(self.task, STATE, self.learning.state_dict())
