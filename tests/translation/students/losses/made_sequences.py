"""Students, criterions and sentences for tests of sequence losses, and what a student says of one sentence alone."""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import torch
from fairseq.criterions import CRITERION_DATACLASS_REGISTRY, CRITERION_REGISTRY
from torch import Tensor, nn

from fairseq_dlf.translation.bleu.candidates import Candidates, collate
from fairseq_dlf.translation.bleu.decoding import select_rows
from fairseq_dlf.translation.students.losses.criterion import StudentCriterion

LOSSES = ("dlf_sequence_reinforce", "dlf_sequence_risk", "dlf_softmax_margin")


def criterion_of(name: str, built: SimpleNamespace, **options: Any) -> StudentCriterion:
    """Return a criterion in training, with its defaults but for these options."""
    defaults = {each.name: each.default for each in fields(CRITERION_DATACLASS_REGISTRY[name])}
    cfg = SimpleNamespace(**{**defaults, "sentence_avg": False, "seed": 1, **options})
    built.model.train()
    return CRITERION_REGISTRY[name](cfg, built.task).train()


def gradient_of(loss: Tensor, model: nn.Module, **how: Any) -> Tensor:
    """Return the gradient of a loss, (parameters,)."""
    parameters = list(model.parameters())
    found = torch.autograd.grad(loss, parameters, allow_unused=True, **{"retain_graph": True, **how})
    return torch.cat(
        [(torch.zeros_like(p) if g is None else g).flatten() for g, p in zip(found, parameters, strict=True)]
    )


def logits_alone(built: SimpleNamespace, batch: dict[str, Any], row: int, tokens: Sequence[int]) -> Tensor:
    """Return the logits of a translation that is scored by itself, on the source without padding, (length, types)."""
    one = select_rows(batch, torch.tensor([row]), left_pad_source=True)["net_input"]
    one["prev_output_tokens"] = torch.tensor([[built.task.target_dictionary.eos(), *tokens[:-1]]])
    return built.model(**one)[0][0]


def log_probs_alone(built: SimpleNamespace, batch: dict[str, Any], row: int, tokens: Sequence[int]) -> Tensor:
    """Return log p of each token of a translation that is scored by itself, (length,)."""
    return torch.log_softmax(logits_alone(built, batch, row, tokens), dim=-1)[range(len(tokens)), tokens]


def logits_of_tokens_alone(built: SimpleNamespace, batch: dict[str, Any], row: int, tokens: Sequence[int]) -> Tensor:
    """Return the logit of each token of a translation that is scored by itself, (length,)."""
    return logits_alone(built, batch, row, tokens)[range(len(tokens)), tokens]


def batch_of(built: SimpleNamespace, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> dict[str, Any]:
    """Return a batch of sentences, whose ends are added."""
    eos = built.task.target_dictionary.eos()
    source, target = ([torch.tensor([*pair[side], eos]) for pair in pairs] for side in (0, 1))
    data = built.task.paired(source, target)
    batch = data.collater([data[i] for i in range(len(pairs))])
    # The collater sorts by length, and mixes what is of one length.
    order = torch.argsort(batch["id"])
    assert torch.equal(batch["net_input"]["src_lengths"], batch["net_input"]["src_lengths"][order]), "longest first"
    for part, names in ((batch, ("id", "target")), (batch["net_input"], tuple(batch["net_input"]))):
        part.update({name: part[name][order] for name in names})
    return batch


def candidates_of(
    built: SimpleNamespace, batch: dict[str, Any], each: Iterable[Sequence[tuple[Sequence[int], float]]], slots: int
) -> Candidates:
    """Return given candidates of each sentence, words and BLEU; ends are added."""
    eos = built.task.target_dictionary.eos()
    rows = [
        (row, slot, torch.tensor([*words, eos]), bleu)
        for row, mine in enumerate(each)
        for slot, (words, bleu) in enumerate(mine)
    ]
    return collate(rows, batch, built.task, slots)


def example_of(built: SimpleNamespace) -> SimpleNamespace:
    """Return a batch with padding on both sides, and candidates of many kinds.

    The second target is empty. The first sentence has an empty candidate and the reference, the second its
    empty reference, the third a single candidate, which is not the reference.
    """
    pairs = [([4, 9, 8, 7, 5], [5, 6, 7]), ([6, 4, 6], []), ([10], [4])]
    batch = batch_of(built, pairs)
    each = [
        [([], 0.0), ([5, 6], 0.4), ([5, 6, 7], 1.0), ([8, 9, 4, 5], 0.1)],
        [([7], 0.0), ([], 0.2)],
        [([4, 4], 0.5)],
    ]
    eos = built.task.target_dictionary.eos()
    return SimpleNamespace(
        batch=batch,
        candidates=candidates_of(built, batch, each, slots=5),
        each=[[([*words, eos], bleu) for words, bleu in mine] for mine in each],
        references=[[*target, eos] for _, target in pairs],
        slots=[2, 1, -1],
    )


def with_references(built: SimpleNamespace, example: SimpleNamespace) -> SimpleNamespace:
    """Return the example with every reference among the candidates."""
    each = [list(mine) for mine in example.each]
    each[2].append((example.references[2], 0.9))
    given = [[(tokens[:-1], bleu) for tokens, bleu in mine] for mine in each]
    candidates = candidates_of(built, example.batch, given, slots=5)
    return SimpleNamespace(**{**vars(example), "each": each, "candidates": candidates, "slots": [2, 1, 1]})


def assert_same_loss_and_gradient(found: Tensor, wanted: Tensor, model: nn.Module) -> None:
    """Fail unless values, and the gradients of their sums, are equal up to 1e-10."""
    torch.testing.assert_close(found.detach(), wanted.detach(), rtol=0, atol=1e-10)
    ours, theirs = gradient_of(found.sum(), model), gradient_of(wanted.sum(), model)
    assert theirs.norm() > 1e-6
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
