"""A training step by each criterion of students, beside fairseq's cross-entropy."""

import copy
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from fairseq.criterions import CRITERION_DATACLASS_REGISTRY, CRITERION_REGISTRY, FairseqCriterion
from torch import Tensor, nn

from benchmarks.cases import Size, build_translation
from benchmarks.sentences import ShapedTask
from benchmarks.timing import Figure, figure, interleaved, markdown, progress, ratios

BASE = "cross_entropy"
# Options by criterion, besides the defaults.
LOSSES: dict[str, dict[str, Any]] = {
    BASE: {},
    "label_smoothed_cross_entropy": {"label_smoothing": 0.1},
    "dlf": {},
    "dlf_sparse_smoothing": {},
    "dlf_scheduled_smoothing": {},
    "dlf_r_drop": {},
    "dlf_self_distillation": {"distillation_from_start": True},
    "dlf_sequence_reinforce": {},
    "dlf_sequence_risk": {},
    "dlf_softmax_margin": {},
    "dlf_actor_critic": {"critic_pretraining": 0},
}
# Options that criterions take from a run's others.
RUN = {
    "sentence_avg": False,
    "seed": 1,
    "max_update": 1000,
    "max_epoch": 0,
    "update_freq": [1],
    "train_subset": "train",
    "valid_subset": "valid",
}
ARCHS = ("lstm_dlf_1", "transformer_dlf_small")
QUICK_REPEATS, FULL_REPEATS = 3, 9
# An untrained student hardly ever ends a sentence; after these steps it does so about as often as the corpus.
WARM_STEPS, WARM_RATE = 60, 3e-3
BATCHES = 4
RATE = 1e-3


class PlainOptimizer(torch.optim.SGD):
    """SGD as fairseq's tasks use an optimiser."""

    def backward(self, loss: Tensor) -> None:
        loss.backward()


def run(quick: bool, repeats: int | None = None) -> dict[str, Any]:
    """Measure each criterion's training step in seconds, and in units of `cross_entropy`.

    Args:
        repeats: replace those of the quick or the full size.
    """
    size: Size = "quick" if quick else "full"
    repeats = repeats or (QUICK_REPEATS if quick else FULL_REPEATS)
    return {"rows": [row for arch in ARCHS for row in _rows(arch, size, repeats)]}


def table(result: dict[str, Any]) -> str:
    """Write one line for each student and criterion."""
    lines = [
        [row["student"], row["criterion"], f"{row['ms']:.0f}", str(Figure(*row["ratio"])), row["n"]]
        for row in result["rows"]
    ]
    return markdown(["student", "criterion", "ms a step", "ratio", "n"], lines)


def _rows(arch: str, size: Size, repeats: int) -> list[dict[str, Any]]:
    torch.manual_seed(1)
    task, model = build_translation(arch, size)
    batches = task.batches(BATCHES, seed=2)
    _warm(task, model, batches)
    runs = {name: partial(_train, *_run_of(name, task, model), batches) for name in LOSSES}
    seconds = interleaved(runs, repeats)
    found = {BASE: Figure(1.0, 0.0, repeats), **ratios(seconds, BASE)}
    progress(f"losses of {arch}: " + ", ".join(f"{name} {value}" for name, value in found.items()))
    return [
        {
            "student": arch,
            "criterion": name,
            "ms": 1000 * figure(seconds[name]).median / BATCHES,
            "ratio": list(found[name]),
            "n": repeats,
        }
        for name in LOSSES
    ]


def _run_of(name: str, task: ShapedTask, model: nn.Module) -> tuple[ShapedTask, nn.Module, FairseqCriterion]:
    """Return a task, a student and a criterion that share nothing with those of other criterions."""
    # Criterions wrap methods of their task, and ask it for the run's epoch.
    own = ShapedTask(task.shape)
    sentences = [torch.tensor([own.target_dictionary.eos()])]
    data = own.paired(sentences, sentences)
    own.datasets = {"train": data}
    own.dataset_to_epoch_iter = {data: SimpleNamespace(epoch=1)}
    return own, copy.deepcopy(model), criterion_of(name, own, LOSSES[name])


def criterion_of(name: str, task: ShapedTask, options: Mapping[str, Any]) -> FairseqCriterion:
    """Build a criterion by its name in fairseq's registry, with its defaults but for the options."""
    defaults = {each.name: each.default for each in fields(CRITERION_DATACLASS_REGISTRY[name])}
    return CRITERION_REGISTRY[name].build_criterion(Namespace(**{**defaults, **RUN, **options}), task)


def _warm(task: ShapedTask, model: nn.Module, batches: Sequence[dict[str, Any]]) -> None:
    criterion = criterion_of(BASE, task, {})
    optimizer = torch.optim.Adam(model.parameters(), lr=WARM_RATE)
    for step in range(WARM_STEPS):
        optimizer.zero_grad()
        loss, sample_size, _ = criterion.train()(model.train(), batches[step % len(batches)])
        (loss / sample_size).backward()
        optimizer.step()


def _train(task: Any, model: nn.Module, criterion: FairseqCriterion, batches: Sequence[dict[str, Any]]) -> None:
    """Take a training step on each batch, as fairseq's trainer does."""
    optimizer = PlainOptimizer(model.parameters(), lr=RATE)
    step: Callable[..., Any] = task.train_step
    for update, batch in enumerate(batches):
        optimizer.zero_grad()
        _, sample_size, _ = step(batch, model, criterion.train(), optimizer, update)
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad.div_(sample_size)
        task.optimizer_step(optimizer, model, update)
