"""The criterion `dlf_softmax_margin`: cost-augmented log-sum-exp (Gimpel and Smith 2010; Edunov et al. 2018)."""

from dataclasses import dataclass, field

import torch
from fairseq.criterions import register_criterion
from torch import Tensor

from fairseq_dlf.core.support.checks import require_at_least
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.translation.bleu.candidates import Proposals
from fairseq_dlf.translation.students.losses.scored import Scored
from fairseq_dlf.translation.students.losses.sequence import CandidateSetConfig, SequenceCriterion, proposals_of_set

TARGETS = ("best", "reference")
SCORES = ("logit", "log-prob")


@dataclass
class SoftmaxMarginConfig(CandidateSetConfig):
    margin_target: str = field(
        default="best",
        metadata={
            "help": "what is to win: best (the candidate of highest BLEU, Edunov et al.) or reference (Gimpel and "
            "Smith)"
        },
    )
    margin_score: str = field(
        default="logit",
        metadata={"help": "score of a candidate: the mean over its tokens of logit (Edunov et al.) or log-prob"},
    )
    margin_scale: float = field(default=1.0, metadata={"help": "factor of the cost 1 - BLEU"})


@register_criterion("dlf_softmax_margin", dataclass=SoftmaxMarginConfig)
class SoftmaxMarginCriterion(SequenceCriterion):
    """−s(u*) + log Σ_u exp(s(u) + c · (1 − BLEU(u))) over candidates u without duplicates, u* among them.

    u* is the reference (Gimpel and Smith 2010), which then is one of the candidates, or the candidate of
    highest BLEU, of several the one that was decoded first, which is the most probable one (Edunov et
    al. 2018). The sum includes u* with its own cost. The code of Edunov et al. minimises
    −log softmax(s − c · BLEU) at u*, which is smaller by c · (1 − BLEU(u*)): a constant, so that
    the gradients are the same, and so is the loss where u* has BLEU 1.

    Paper: Gimpel and Smith 2010, Eq 6; Edunov et al. 2018, section 3.
    """

    @classmethod
    def options(cls) -> dict[str, str]:
        return {name: f"--{name.replace('_', '-')}" for name in ("margin_target", "margin_score", "margin_scale")}

    def checked_proposals(self, cfg: SoftmaxMarginConfig) -> Proposals:
        for name, known in (("margin_target", TARGETS), ("margin_score", SCORES)):
            if getattr(cfg, name) not in known:
                raise InputError(
                    f"{name} is {getattr(cfg, name)!r}, but must be one of {', '.join(known)}", setting=name
                )
        require_at_least(0, margin_scale=cfg.margin_scale)
        return proposals_of_set(cfg, with_reference=cfg.margin_target == "reference")

    def sentence_losses(self, scored: Scored) -> Tensor:
        scores = scored.means(scored.token_logits if self.cfg.margin_score == "logit" else scored.log_probs)
        present = scored.candidates.present
        cost = self.cfg.margin_scale * (1.0 - scored.candidates.bleu).to(scores.dtype)
        augmented = (scores + cost).masked_fill(~present, float("-inf"))
        return torch.logsumexp(augmented, dim=1) - scores.gather(1, self._targets(scored).unsqueeze(1)).squeeze(1)

    def _targets(self, scored: Scored) -> Tensor:
        """Return the slot of u* of each sentence, (sentences,), int64."""
        if self.cfg.margin_target == "reference":
            return scored.reference_slots
        return scored.candidates.bleu.masked_fill(~scored.candidates.present, -1.0).argmax(dim=1)
