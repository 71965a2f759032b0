"""What the sequence losses share: candidates of each sentence, one forward pass, the share of cross-entropy."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.tasks import FairseqTask
from omegaconf import II
from torch import Tensor, nn

from fairseq_dlf.core.support.checks import require_at_least, require_between
from fairseq_dlf.core.support.seeds import mixed_seed
from fairseq_dlf.core.teaching.forms import Diagonal
from fairseq_dlf.core.teaching.loss import DynamicLoss
from fairseq_dlf.translation.bleu.candidates import Proposals, find_candidates
from fairseq_dlf.translation.bleu.decoding import (
    MAX_LENGTH_FACTOR,
    MAX_LENGTH_OFFSET,
    LengthLimit,
    unwrapped,
)
from fairseq_dlf.translation.hooks.launch import NOTHING_TO_SMOOTH, refuse_ignored
from fairseq_dlf.translation.hooks.naming import naming_options
from fairseq_dlf.translation.students.losses.criterion import StudentCriterion, TrainingLoss
from fairseq_dlf.translation.students.losses.scored import Scored, score_candidates

# Options by setting, for the messages of errors.
OPTIONS = {
    "candidates": "--sequence-candidates",
    "candidate_method": "--sequence-method",
    "sequence_max_len_a": "--sequence-max-len-a",
    "sequence_max_len_b": "--sequence-max-len-b",
    "ce_share": "--ce-share",
    "label_smoothing": "--label-smoothing",
}


@dataclass
class SequenceConfig(FairseqDataclass):
    # Other names than those of expected BLEU, with which fairseq would silently share them.
    sequence_candidates: int = field(
        default=5, metadata={"help": "candidates per sentence of the sequence loss, duplicates included"}
    )
    sequence_max_len_a: float = field(
        default=MAX_LENGTH_FACTOR, metadata={"help": "candidates have at most a * source length + b words: a"}
    )
    sequence_max_len_b: float = field(
        default=MAX_LENGTH_OFFSET, metadata={"help": "b of the same bound; a lower bound saves time"}
    )
    ce_share: float = field(
        default=0.0,
        metadata={"help": "share of cross-entropy in the loss, from 0 to 1; Edunov et al. 2018 take 0.4 to 0.5"},
    )
    label_smoothing: float = field(default=0.0, metadata={"help": "label smoothing within the share of cross-entropy"})
    sentence_avg: bool = II("optimization.sentence_avg")
    seed: int = II("common.seed")


@dataclass
class CandidateSetConfig(SequenceConfig):
    """Options of losses over a set of candidates, without duplicates, that need not be samples."""

    sequence_method: str = field(
        default="sample", metadata={"help": "how the student proposes candidates: sample or beam (the n-best list)"}
    )
    sequence_reference: bool = field(default=False, metadata={"help": "add the reference to the candidates"})


def proposals_of_set(cfg: CandidateSetConfig, with_reference: bool = False) -> Proposals:
    """Return which candidates a loss over a set compares.

    Args:
        with_reference: whether the loss needs the reference among the candidates.

    Raises:
        InputError: there is nothing to compare.
    """
    with_reference = with_reference or cfg.sequence_reference
    require_at_least(1 if with_reference else 2, candidates=cfg.sequence_candidates)
    return Proposals(cfg.sequence_candidates, cfg.sequence_method, with_reference, shortest=0, limit=limit_of(cfg))


def limit_of(cfg: SequenceConfig) -> LengthLimit:
    """Return the bound on the words of candidates.

    Raises:
        InputError: it allows no word in candidates of the shortest sources, or is not finite.
    """
    require_at_least(0, sequence_max_len_a=cfg.sequence_max_len_a)
    require_at_least(1, sequence_max_len_b=cfg.sequence_max_len_b)
    return LengthLimit(cfg.sequence_max_len_a, cfg.sequence_max_len_b)


class SequenceCriterion(StudentCriterion):
    """A loss of whole translations, which the student proposes; a subclass says which translations and what loss.

    loss = (1 − ce_share) · sample size · mean over sentences of the sequence loss + ce_share · Σ cross-entropy.
    Divided by fairseq's sample size, that is the combination of Edunov et al. (2018): a mean over tokens (over
    sentences with `--sentence-avg`, as in fairseq) of cross-entropy, and a mean over sentences of the sequence
    loss. Without `--sentence-avg`, the batches of `--update-freq` and of several workers count by their tokens.

    Candidates are decoded without dropout, and scored with it.

    Cost: a decoding of `--sequence-candidates` translations, and a training step in which each source is encoded
        once and each candidate and the reference are decoded.
    """

    figures: ClassVar[tuple[str, ...]] = ("sequence_loss", "sample_bleu")

    def __init__(self, cfg: Any, task: FairseqTask):
        super().__init__(cfg, task)
        with naming_options({**OPTIONS, **self.options()}):
            require_between(0.0, 1.0, ce_share=cfg.ce_share)
            self._share = DynamicLoss(Diagonal(), self.padding_idx, 1.0, cfg.label_smoothing)
            self.proposals = self.checked_proposals(cfg)

    @classmethod
    def options(cls) -> dict[str, str]:
        """Return the options of this loss by setting, for the messages of errors."""
        return {}

    def checked_proposals(self, cfg: Any) -> Proposals:
        """Return which candidates the loss needs.

        Raises:
            InputError: an option of this loss is out of range.
        """
        raise NotImplementedError

    def sentence_losses(self, scored: Scored) -> Tensor:
        """Return the sequence loss of each sentence, (sentences,), with a graph."""
        raise NotImplementedError

    def require_effect(self) -> None:
        refuse_ignored(self.cfg, "label_smoothing", self.cfg.ce_share == 0, NOTHING_TO_SMOOTH)

    def training_loss(self, model: nn.Module, sample: dict[str, Any]) -> TrainingLoss:
        """Return the loss of a batch; with a full share of cross-entropy, no candidates are decoded."""
        share = self.cfg.ce_share
        if share == 1.0:
            return TrainingLoss(*self._share(model(**sample["net_input"])[0], sample["target"]))
        seed = mixed_seed(self.cfg.seed, self.update, *sample["id"].tolist())
        candidates = find_candidates(self.task, unwrapped(model), sample, self.proposals, seed)
        scored = score_candidates(model, sample, candidates, self.task.target_dictionary, self.proposals.limit)
        sequence = self.sentence_losses(scored).mean()
        with torch.set_grad_enabled(share > 0.0):
            references = scored.references
            tokens = self._share(references.logits, references.tokens)
        figures = {
            "sequence_loss": float(sequence.detach()),
            "sample_bleu": float(candidates.bleu[candidates.present].mean()),
        }
        loss = (1.0 - share) * self.sample_size(sample) * sequence + share * tokens.loss
        return TrainingLoss(loss, tokens.nll_nats, figures)
