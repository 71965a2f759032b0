"""Expected BLEU over a set of candidates.

m̃(x, y) = Σ_{y* ∈ C(x)} BLEU(y*, y) q(y*|x) with q = softmax over C of α · score. The candidates C
come from the student itself and are scored again with a graph.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.models import BaseFairseqModel
from torch import Tensor

from fairseq_dlf.core.support.checks import require_at_least, require_positive
from fairseq_dlf.core.support.signature import Part, part_of
from fairseq_dlf.core.teaching.expectations import expected_score
from fairseq_dlf.translation.bleu.candidates import Candidates, Proposals
from fairseq_dlf.translation.bleu.scoring import TokenScores, score_tokens

# Candidates of one batch are padded to the longest: small batches of similar length waste least.
MEASURE_SENTENCES = 16


@dataclass(frozen=True)
class ExpectedBleuSettings:
    """Settings that define the measure.

    Attributes:
        candidates: size of C before duplicates are removed, at least 2.
        method: 'sample' (from the student's distribution) or 'beam'.
        sharpness: α, the factor of the score.
        normalize: whether the score is log p / length (α is then near 1) or log p (near 0.005).
        with_reference: whether C includes the reference.
    """

    candidates: int = 8
    method: str = "sample"
    sharpness: float = 1.0
    normalize: bool = True
    with_reference: bool = False

    def __post_init__(self) -> None:
        require_at_least(2, candidates=self.candidates)
        _ = self.proposals
        require_positive(sharpness=self.sharpness)

    @property
    def proposals(self) -> Proposals:
        """Return which candidates the student proposes.

        Raises:
            InputError: there are none such.
        """
        return Proposals(self.candidates, self.method, self.with_reference)

    @property
    def signature(self) -> Part:
        return part_of(self)


def expected_bleu(
    forward: Callable[..., Any],
    model: BaseFairseqModel,
    candidates: Candidates,
    settings: ExpectedBleuSettings,
    padding: int,
) -> Tensor:
    """Return m̃ of each sentence, (sentences,), with a graph to the parameters that `forward` uses.

    Args:
        forward: the model, wrapped or with other parameters.
        model: the unwrapped model.

    Cost: one forward pass over all candidates: (tokens, types) log-probabilities.
    Paper: section 4.1; the design is that of minimum-risk training (Shen et al. 2016, Eq 13).
    """
    rows = candidates.owners[0], candidates.targets
    return expected_bleu_of(score_tokens(forward, model, candidates.batch, *rows, padding), candidates, settings)


def expected_bleu_of(scored: TokenScores, candidates: Candidates, settings: ExpectedBleuSettings) -> Tensor:
    """Return m̃ of each sentence, (sentences,), from the scores of the candidates' tokens."""
    scores = scored.log_probs.sum(dim=1)
    if settings.normalize:
        scores = scores / scored.real.sum(dim=1)
    return expected_score(candidates.table(scores), candidates.bleu, candidates.present, settings.sharpness)


@dataclass
class ExpectedBleuConfig(FairseqDataclass):
    candidates: int = field(
        default=8, metadata={"help": "candidates per sentence of expected BLEU, duplicates included"}
    )
    candidate_method: ChoiceEnum(["sample", "beam"]) = field(
        default="sample", metadata={"help": "how the student proposes candidates"}
    )
    candidate_sharpness: float = field(
        default=1.0, metadata={"help": "alpha on the candidates' scores; try 0.005 with --candidate-sum"}
    )
    candidate_sum: bool = field(default=False, metadata={"help": "score candidates by log p, not by log p / length"})
    candidate_reference: bool = field(default=False, metadata={"help": "add the reference to the candidates"})


def expected_bleu_settings(cfg: ExpectedBleuConfig) -> ExpectedBleuSettings:
    """Return the settings of the measure in these options."""
    return ExpectedBleuSettings(
        candidates=cfg.candidates,
        method=str(cfg.candidate_method),
        sharpness=cfg.candidate_sharpness,
        normalize=not cfg.candidate_sum,
        with_reference=cfg.candidate_reference,
    )
