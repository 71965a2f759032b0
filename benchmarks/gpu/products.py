"""Hypergradients on a device: against autograd and the CPU, by every kernel, from every storage, and their time."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from benchmarks import ours
from benchmarks.cases import Case, Size, build
from benchmarks.error import errors_of, trained
from benchmarks.gpu.check import Figures, Place, within
from benchmarks.peers import CHECKED_STEPS, TOLERANCE, by_autograd, train_plainly
from benchmarks.timing import figure

STUDENTS = ("mlp", "lenet", "lstm", "transformer-gelu")
# float32: exact products have 1e-7 to 1e-6 on a CPU, and the guard stops differences above 5 %.
FLOAT32_LIMITS = {ours.EXACT: 1e-4, "central": 0.05, "forward": 0.05}
KERNEL_STEPS = 8
STORED_STEPS = 64
STORES = (ours.ALL_STATES, ours.ON_HOST, ours.ON_DISK, ours.FEWEST_STATES)
TIMED = {"mlp": 64, "lstm": 8, "transformer-gelu": 4}
REPEATS = 5


def ladder(place: Place) -> Figures:
    """Exact products in float64 against autograd through the whole unroll, and against the CPU."""
    figures: Figures = {}
    for name in STUDENTS:
        case = _still(build(name, "small").double())
        there = case.on(place.device)
        found = ours.episode(there, CHECKED_STEPS)
        figures[f"{name}, autograd"] = _difference(found, by_autograd(there, CHECKED_STEPS))
        figures[f"{name}, CPU"] = _difference(found.cpu(), ours.episode(case, CHECKED_STEPS))
    return within(figures, {"": TOLERANCE})


def recurrent_kernels(place: Place) -> Figures:
    """Products of an LSTM in float32, by cuDNN where its second derivative is not wanted."""
    return _by_kernels("lstm", place)


def attention_kernels(place: Place) -> Figures:
    """Products of a Transformer in float32, by fused attention where its second derivative is not wanted."""
    return _by_kernels("transformer-gelu", place)


def storage(place: Place) -> Figures:
    """Student states on the device, in pinned memory of the host, on disk and recomputed: the same to the last bit."""
    case, figures = build("mlp", "quick").on(place.device), Figures()
    wanted = ours.episode(case, STORED_STEPS)
    for store in STORES:
        episode = partial(ours.episode, case, STORED_STEPS, trajectory=store)
        figures[f"{store}: seconds"] = _seconds(place, episode)
        figures[f"{store}: greatest difference"] = float((episode() - wanted).abs().max())
    return within(figures, {"difference": 0.0})


def speed(place: Place) -> Figures:
    """Time of an episode in units of plain training for the same steps, side by side."""
    figures: Figures = {}
    for name, steps in TIMED.items():
        size: Size = "full" if place.device.type == "cuda" else "quick"
        case, module = build(name, size).on(place.device), build(name, size).on(place.device).module
        runs: dict[str, Callable[[], Any]] = {
            "plain": partial(train_plainly, case, module, steps),
            "states": partial(ours.episode, case, steps),
            "graphs": partial(ours.episode, case, steps, trajectory=ours.ALL_GRAPHS),
        }
        for run in runs.values():
            run()
        taken = [{kind: _seconds(place, run) for kind, run in runs.items()} for _ in range(REPEATS)]
        figures[f"{name}: plain training, seconds a step"] = figure([each["plain"] / steps for each in taken]).median
        for kind in ("states", "graphs"):
            figures[f"{name}: exact episode, {kind} kept"] = str(figure([each[kind] / each["plain"] for each in taken]))
    return figures


def _by_kernels(name: str, place: Place) -> Figures:
    case = _still(build(name, "quick").on(place.device))
    return within(dict(errors_of(trained(case), KERNEL_STEPS)), FLOAT32_LIMITS)


def _still(case: Case) -> Case:
    """Turn the dropout of a case off, and return it: the masks of a device depend on its type and on the precision."""
    for layer in case.module.modules():
        if isinstance(getattr(layer, "p", None), float):
            layer.p = 0.0  # type: ignore[assignment]
    return case


def _difference(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


def _seconds(place: Place, run: Callable[[], Any]) -> float:
    place.synchronize()
    began = time.perf_counter()
    run()
    place.synchronize()
    return time.perf_counter() - began
