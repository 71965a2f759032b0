"""The criterion `dlf_sequence_risk`: minimum risk over candidates (Shen et al. 2016; Edunov et al. 2018)."""

from dataclasses import dataclass, field
from typing import Optional

from fairseq.criterions import register_criterion
from torch import Tensor

from fairseq_dlf.core.support.checks import require_positive
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.teaching.expectations import expected_score
from fairseq_dlf.translation.bleu.candidates import Proposals
from fairseq_dlf.translation.students.losses.scored import Scored
from fairseq_dlf.translation.students.losses.sequence import CandidateSetConfig, SequenceCriterion, proposals_of_set

# α by score: those of Edunov et al. and of Shen et al.
SHARPNESS = {"mean": 1.0, "sum": 0.005}


@dataclass
class RiskConfig(CandidateSetConfig):
    risk_score: str = field(
        default="mean",
        metadata={"help": "score of a candidate: mean (log p / length, Edunov et al.) or sum (log p, Shen et al.)"},
    )
    risk_sharpness: Optional[float] = field(
        default=None,
        metadata={"help": f"alpha on the scores; by default {SHARPNESS['mean']} for mean, {SHARPNESS['sum']} for sum"},
    )


@register_criterion("dlf_sequence_risk", dataclass=RiskConfig)
class RiskCriterion(SequenceCriterion):
    """Σ_u Q(u) (1 − BLEU(u)) over candidates u without duplicates, with Q = softmax of α · score.

    The score is log p / length with α = 1 (Edunov et al. 2018), or log p with α = 0.005 (Shen et al. 2016,
    who add the reference: `--sequence-reference`). The first is the default: with few candidates, log p
    would prefer the short ones, and its α makes a loss hundreds of times flatter than the cross-entropy
    beside it.

    Paper: Shen et al. 2016, Eq 13; Edunov et al. 2018, section 3.
    """

    @classmethod
    def options(cls) -> dict[str, str]:
        return {"risk_score": "--risk-score", "risk_sharpness": "--risk-sharpness"}

    def checked_proposals(self, cfg: RiskConfig) -> Proposals:
        if cfg.risk_score not in SHARPNESS:
            raise InputError(
                f"there is no score {cfg.risk_score!r}; choose from {', '.join(SHARPNESS)}", setting="risk_score"
            )
        if cfg.risk_sharpness is not None:
            require_positive(risk_sharpness=cfg.risk_sharpness)
        return proposals_of_set(cfg)

    def sentence_losses(self, scored: Scored) -> Tensor:
        log_probs = scored.log_probs
        mean = self.cfg.risk_score == "mean"
        scores = scored.means(log_probs) if mean else scored.candidates.table(log_probs.sum(dim=1))
        sharpness = SHARPNESS[self.cfg.risk_score] if self.cfg.risk_sharpness is None else self.cfg.risk_sharpness
        return expected_score(scores, 1.0 - scored.candidates.bleu, scored.candidates.present, sharpness)
