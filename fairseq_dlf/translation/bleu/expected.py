"""Expected BLEU over a set of candidates: the teacher's smoothed measure in translation.

m̃(x, y) = Σ_{y* ∈ C(x)} BLEU(y*, y) q(y*|x) with q = softmax over C of α · score. The candidates C
come from the student itself and are scored again with a graph.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from fairseq.data import data_utils
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.models import BaseFairseqModel
from fairseq.tasks import FairseqTask
from torch import Tensor
from torch.nn import functional

from fairseq_dlf.core.hypergradient.episode import MeasuredCotangent
from fairseq_dlf.core.hypergradient.student import Student
from fairseq_dlf.core.support.checks import require_positive
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.support.signature import Part, part_of
from fairseq_dlf.core.teaching.expectations import expected_score
from fairseq_dlf.translation.bleu.decoding import WordJoiner, build_generator, evaluating, module_at
from fairseq_dlf.translation.bleu.scores import sentence_bleu

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
        if self.candidates < 2:
            raise InputError(
                f"{self.candidates} candidates were asked for; expected BLEU needs at least 2", setting="candidates"
            )
        if self.method not in ("sample", "beam"):
            raise InputError(
                f"candidates by {self.method!r} were asked for; choose 'sample' or 'beam'", setting="candidate_method"
            )
        require_positive(sharpness=self.sharpness)

    @property
    def signature(self) -> Part:
        return part_of(self)


class Candidates(NamedTuple):
    """Candidate translations of a batch, and the tensors for scoring them again.

    Attributes:
        batch: net_input of a forward pass over all candidates, with repeated sources.
        targets: (inputs · C, length), padded.
        owners: input and slot of each row, (2, inputs · C).
        bleu: sentence BLEU, (inputs, C), float64.
        present: (inputs, C), bool.
    """

    batch: dict[str, Tensor]
    targets: Tensor
    owners: Tensor
    bleu: Tensor
    present: Tensor


def find_candidates(
    task: FairseqTask,
    model: BaseFairseqModel,
    batch: dict[str, Any],
    settings: ExpectedBleuSettings,
    seed: int,
) -> Candidates:
    """Decode a set of distinct candidates for each sentence and score their BLEU.

    Cost: one decoding with a beam of `candidates`, and 0.1 ms of BLEU per candidate.
    """
    with evaluating(model), torch.no_grad():
        torch.manual_seed(seed)
        generator = build_generator(task, model, beam=settings.candidates, sampling=settings.method == "sample")
        translations = generator.generate([model], batch)
    words = WordJoiner(task.target_dictionary)
    rows = []
    for index, (hypotheses, target) in enumerate(zip(translations, batch["target"], strict=True)):
        proposals = [h["tokens"] for h in hypotheses]
        reference = target[target != task.target_dictionary.pad()]
        if settings.with_reference:
            proposals.append(reference)
        reference_words = words.reference(reference).split()
        distinct = {tuple(tokens.tolist()): tokens for tokens in proposals}
        for slot, tokens in enumerate(distinct.values()):
            bleu = sentence_bleu(words.hypothesis(tokens).split(), reference_words)
            rows.append((index, slot, tokens, bleu))
    return _collate(rows, batch, task, settings.candidates + settings.with_reference)


def _collate(
    rows: Sequence[tuple[int, int, Tensor, float]], batch: dict[str, Any], task: FairseqTask, slots: int
) -> Candidates:
    dictionary = task.target_dictionary
    source = batch["net_input"]["src_tokens"]
    owners = torch.tensor([[i, j] for i, j, _, _ in rows], device=source.device).t()
    tokens = [row[2] for row in rows]
    targets = data_utils.collate_tokens(tokens, dictionary.pad(), dictionary.eos())
    previous = data_utils.collate_tokens(tokens, dictionary.pad(), dictionary.eos(), move_eos_to_beginning=True)
    shape = (source.size(0), slots)
    bleu = torch.zeros(shape, dtype=torch.float64, device=source.device)
    bleu[owners[0], owners[1]] = torch.tensor([row[3] for row in rows], dtype=torch.float64, device=source.device)
    present = torch.zeros(shape, dtype=torch.bool, device=source.device)
    present[owners[0], owners[1]] = True
    net_input = {
        "src_tokens": source[owners[0]],
        "src_lengths": batch["net_input"]["src_lengths"][owners[0]],
        "prev_output_tokens": previous,
    }
    return Candidates(net_input, targets, owners, bleu, present)


def expected_bleu(
    forward: Callable[..., Any], candidates: Candidates, settings: ExpectedBleuSettings, padding: int
) -> Tensor:
    """Return m̃ of each input, (inputs,), with a graph to the parameters that `forward` uses.

    Cost: one forward pass over all candidates: (inputs · C, length, types) log-probabilities.
    Paper: section 4.1; the design is that of minimum-risk training (Shen et al. 2016, Eq 13).
    """
    logits = forward(**candidates.batch)[0]
    precision = torch.promote_types(logits.dtype, torch.float32)
    nll = functional.cross_entropy(
        logits.to(precision).flatten(0, 1),
        candidates.targets.flatten(),
        ignore_index=padding,
        reduction="none",
    ).view_as(candidates.targets)
    scores = -nll.sum(dim=1)
    if settings.normalize:
        scores = scores / (candidates.targets != padding).sum(dim=1)
    table = scores.new_zeros(candidates.present.shape).index_put(tuple(candidates.owners), scores)
    return expected_score(table, candidates.bleu, candidates.present, settings.sharpness)


class ExpectedBleu:
    """The measure M̃(ω): mean expected BLEU over dev batches, for an episode.

    Candidates are drawn anew from the student at every ω, with the same seed.

    Args:
        batches: the dev batches of this worker.
        sentences: number of sentences of all workers.
    """

    def __init__(
        self,
        task: FairseqTask,
        student: Student,
        batches: Sequence[dict[str, Any]],
        settings: ExpectedBleuSettings,
        seed: int,
        sentences: int,
    ):
        self.task = task
        self.student = student
        self.batches = batches
        self.settings = settings
        self.seed = seed
        self.sentences = sentences

    def value(self, params: Tensor) -> float:
        """Return M̃(ω).

        Cost: a decoding, and a forward pass over all candidates.
        """
        total = params.new_zeros((), dtype=torch.float64)
        with torch.no_grad():
            for batch in self.batches:
                total += self._sum(params, batch)
        return float(self.student.combine(total)) / self.sentences

    def value_and_cotangent(self, params: Tensor) -> MeasuredCotangent:
        """Return M̃(ω) and its gradient, computed one dev batch at a time.

        Cost: that of `value`, and a backward pass.
        """
        params = params.detach().requires_grad_()
        total, cotangent = params.new_zeros((), dtype=torch.float64), torch.zeros_like(params)
        for batch in self.batches:
            with torch.enable_grad():
                value = self._sum(params, batch)
                cotangent += torch.autograd.grad(value / self.sentences, params)[0]
            total += value.detach()
        total, cotangent = self.student.combine(total), self.student.combine(cotangent)
        return MeasuredCotangent(float(total) / self.sentences, cotangent)

    def _sum(self, params: Tensor, batch: dict[str, Any]) -> Tensor:
        model = module_at(self.student, params.detach())
        candidates = find_candidates(self.task, model, batch, self.settings, self.seed)
        with evaluating(model):
            return self.student.run(
                params,
                lambda forward: expected_bleu(
                    forward, candidates, self.settings, self.task.target_dictionary.pad()
                ).sum(),
            )


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
