"""The criterion `dlf_sequence_reinforce`: REINFORCE on sentence BLEU (Ranzato et al. 2016; the paper's RL column)."""

from dataclasses import dataclass, field
from typing import Any, Optional

from fairseq.criterions import register_criterion
from fairseq.tasks import FairseqTask
from torch import Tensor, nn

from fairseq_dlf.core.support.checks import require_at_least, require_rate
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.teaching.expectations import others_mean
from fairseq_dlf.translation.bleu.candidates import Proposals
from fairseq_dlf.translation.bleu.scoring import sample_log_probs
from fairseq_dlf.translation.hooks.launch import refuse_ignored
from fairseq_dlf.translation.students.losses.criterion import TrainingLoss
from fairseq_dlf.translation.students.losses.moving_baseline import MovingBaseline
from fairseq_dlf.translation.students.losses.scored import Scored
from fairseq_dlf.translation.students.losses.sequence import SequenceConfig, SequenceCriterion, limit_of

BASELINES = ("leave-one-out", "moving", "none")
DECAY = 0.95


@dataclass
class ReinforceConfig(SequenceConfig):
    reinforce_baseline: str = field(
        default="leave-one-out",
        metadata={
            "help": "what is subtracted from a sample's BLEU: leave-one-out (the mean of the sentence's other "
            "samples), moving (a moving average over updates) or none"
        },
    )
    reinforce_decay: Optional[float] = field(
        default=None, metadata={"help": f"decay of the moving baseline per update; by default {DECAY}"}
    )


@register_criterion("dlf_sequence_reinforce", dataclass=ReinforceConfig)
class ReinforceCriterion(SequenceCriterion):
    """−(1/n) Σ_i (BLEU(y_i) − b_i) log q(y_i) over n samples y_i of each sentence, duplicates included.

    Its gradient is an unbiased estimate of that of −E_q[BLEU]. q is what fairseq samples from: the student
    without the padding symbol, and with a forced end after the longest translation. In a student with
    dropout it is an estimate up to dropout: samples come from the student without dropout, and are scored
    with it, as in the code of Edunov et al. (2018).

    Paper: Ranzato et al. 2016; Williams 1992.
    """

    figures = (*SequenceCriterion.figures, "baseline")

    def __init__(self, cfg: ReinforceConfig, task: FairseqTask):
        super().__init__(cfg, task)
        self._moving: Optional[MovingBaseline] = None
        if cfg.reinforce_baseline == "moving":
            decay = DECAY if cfg.reinforce_decay is None else cfg.reinforce_decay
            self._moving = MovingBaseline(task, decay, "sample_bleu")

    @classmethod
    def options(cls) -> dict[str, str]:
        return {"reinforce_baseline": "--reinforce-baseline", "reinforce_decay": "--reinforce-decay"}

    def checked_proposals(self, cfg: ReinforceConfig) -> Proposals:
        if cfg.reinforce_baseline not in BASELINES:
            raise InputError(
                f"there is no baseline {cfg.reinforce_baseline!r}; choose from {', '.join(BASELINES)}",
                setting="reinforce_baseline",
            )
        if cfg.reinforce_decay is not None:
            require_rate(reinforce_decay=cfg.reinforce_decay)
        require_at_least(2 if cfg.reinforce_baseline == "leave-one-out" else 1, candidates=cfg.sequence_candidates)
        # A candidate set without duplicates, or without the empty translation, is no sample of q.
        return Proposals(cfg.sequence_candidates, distinct=False, shortest=0, limit=limit_of(cfg))

    def require_effect(self) -> None:
        super().require_effect()
        other = self.cfg.reinforce_baseline != "moving"
        refuse_ignored(
            self.cfg, "reinforce_decay", other, "only a moving baseline decays: pass --reinforce-baseline moving"
        )

    def training_loss(self, model: nn.Module, sample: dict[str, Any]) -> TrainingLoss:
        found = super().training_loss(model, sample)
        if self._moving is None or not found.figures:
            return found
        return found._replace(figures={**found.figures, "baseline": self._moving.value})

    def sentence_losses(self, scored: Scored) -> Tensor:
        log_q = scored.candidates.table(sample_log_probs(scored.every, scored.longest)[: scored.number])
        bleu, present = scored.candidates.bleu.to(log_q.dtype), scored.candidates.present
        advantage = (bleu - self._baseline(bleu, present)).masked_fill(~present, 0.0)
        return -(advantage * log_q).sum(dim=1) / present.sum(dim=1)

    def _baseline(self, bleu: Tensor, present: Tensor) -> Tensor | float:
        """Return b_i of each sample, or of all."""
        if self.cfg.reinforce_baseline == "leave-one-out":
            return others_mean(bleu, present)
        return 0.0 if self._moving is None else self._moving.value
