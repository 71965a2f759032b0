"""A training step by the criterion `dlf`, beside fairseq's own criterions: time and peak memory."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from fairseq.criterions.cross_entropy import CrossEntropyCriterion
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion
from torch import Tensor
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from benchmarks.cases import build_translation
from benchmarks.timing import Figure, figure, interleaved, markdown, progress, ratios
from fairseq_dlf.core.teaching.forms import Diagonal
from fairseq_dlf.core.teaching.loss import DynamicLoss
from fairseq_dlf.translation.students.losses.dynamic import DlfCriterion, DlfCriterionConfig

OURS, BASE, SMOOTHED = "dlf", "cross_entropy", "label_smoothed_cross_entropy"
TOKENS = 600
# Enough for the step's peak to lie in the loss, not in the parameters' gradients.
SENTENCES = 64
QUICK_TYPES, FULL_TYPES = (10_000,), (3_000, 10_000, 32_000)
QUICK_REPEATS, FULL_REPEATS = 9, 31
STEPS_IN_A_RUN = 3


def run(quick: bool, repeats: int | None = None) -> dict[str, Any]:
    """Measure time and peak memory of each criterion in units of `cross_entropy`.

    Args:
        repeats: replace those of the quick or the full size.
    """
    repeats = repeats or (QUICK_REPEATS if quick else FULL_REPEATS)
    rows = [_row("lstm, whole step", _steps_of_a_student(), repeats)]
    for types in QUICK_TYPES if quick else FULL_TYPES:
        rows.append(_row(f"loss alone, {types:,} types", _losses_alone(types), repeats))
    return {"rows": rows}


def table(result: dict[str, Any]) -> str:
    """Write one line for each measurement and criterion."""
    lines = [
        [row["measured"], name, f"{found['ms']:.1f}", str(Figure(**found["ratio"])), f"{found['mib']:.1f}"]
        + [f"{found['memory_ratio']:.2f}", row["n"]]
        for row in result["rows"]
        for name, found in row["criterions"].items()
    ]
    return markdown(["measured", "criterion", "ms", "ratio", "peak, MiB", "ratio", "n"], lines)


def _row(measured: str, methods: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, Any]:
    seconds = interleaved({name: partial(_repeated, method) for name, method in methods.items()}, repeats)
    found = {BASE: Figure(1.0, 0.0, repeats), **ratios(seconds, BASE)}
    memory = {name: _peak_mib(method) for name, method in methods.items()}
    progress(f"criterion: {measured}: " + ", ".join(f"{name} {value}" for name, value in found.items()))
    return {
        "measured": measured,
        "n": repeats,
        "criterions": {
            name: {
                "ms": 1000 * figure(seconds[name]).median / STEPS_IN_A_RUN,
                "ratio": found[name]._asdict(),
                "mib": memory[name],
                "memory_ratio": memory[name] / memory[BASE],
            }
            for name in methods
        },
    }


def _repeated(method: Callable[[], Any]) -> None:
    for _ in range(STEPS_IN_A_RUN):
        method()


def _steps_of_a_student() -> dict[str, Callable[[], Any]]:
    """Return forward pass, criterion and backward pass of LSTM-1 with each criterion's own class."""
    torch.manual_seed(1)
    task, module = build_translation("lstm_dlf_1", "full")
    batch = task.batches(1, seed=2, sentences=SENTENCES)[0]
    cfg = DlfCriterionConfig(sentence_avg=False, max_update=1, max_epoch=0, seed=1)
    criterions = {
        BASE: CrossEntropyCriterion(task, sentence_avg=False),
        SMOOTHED: LabelSmoothedCrossEntropyCriterion(task, sentence_avg=False, label_smoothing=0.1),
        OURS: DlfCriterion(cfg, task),
    }

    def step(name: str) -> None:
        criterions[name].train()(module.train(), batch)[0].backward()
        # At the end: gradients freed at the beginning would be taken off the peak.
        module.zero_grad()

    return {name: partial(step, name) for name in criterions}


def _losses_alone(types: int) -> dict[str, Callable[[], Any]]:
    torch.manual_seed(1)
    logits, target = torch.randn(TOKENS, types), torch.randint(types, (TOKENS,))
    loss, ones = DynamicLoss(Diagonal(), padding=1), torch.ones(types)

    def by_ours(leaf: Tensor) -> Tensor:
        return loss(leaf, target, ones).loss

    def by_base(leaf: Tensor) -> Tensor:
        log_probs = functional.log_softmax(leaf, dim=-1, dtype=torch.float32)
        return functional.nll_loss(log_probs, target, ignore_index=1, reduction="sum")

    def backward(function: Callable[[Tensor], Tensor]) -> None:
        function(logits.detach().requires_grad_()).backward()

    return {BASE: partial(backward, by_base), OURS: partial(backward, by_ours)}


def _peak_mib(method: Callable[[], Any]) -> float:
    """Measure the most that torch's allocator holds during a call beyond what it held before."""
    method()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        method()
    sizes = [
        (event.start_ns(), event.nbytes())
        for event in found.profiler.kineto_results.events()
        if event.name() == "[memory]"
    ]
    held = peak = 0
    for _, size in sorted(sizes):
        held += size
        peak = max(peak, held)
    return peak / 2**20
