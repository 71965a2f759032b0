"""A window of a run whose loss adapts while the one student trains, in units of plain training, by each system."""

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks import ours, peers
from benchmarks.cases import CLASSES, LEARNING_RATE, Case, build
from benchmarks.peak import peak_mib
from benchmarks.timing import Figure, figure, interleaved, markdown, progress, ratios
from fairseq_dlf.core.teaching.loop.adaptation import Child
from fairseq_dlf.core.teaching.window import Window
from fairseq_dlf.images.data.splits import ImageData, ImageSet
from fairseq_dlf.images.students.settings import StudentSettings
from fairseq_dlf.images.teachers.school import ImageSchool
from fairseq_dlf.images.teachers.settings import TeachingSettings
from fairseq_dlf.images.training.adaptation import AdaptationSettings, ImageFamily

REPEATS = 5
WARM_UP_STEPS = 2
PLAIN, ALONE = "plain", "updates alone"
# Of a batch; and of dev, for the measure and for what the teacher reads.
IMAGES, DEV_IMAGES = 20, 1000
QUICK_STEPS = 50


class System(NamedTuple):
    """What adapts the loss, and how many updates it takes before each of its own.

    Attributes:
        name: the paper's, and what of it is replaced.
        form, teacher, estimator: as the command line has them.
        window: K of the published system.
    """

    name: str
    form: str
    teacher: str
    estimator: str
    window: int


SYSTEMS = {
    "ala": System("ALA", "matrix", "controller", "reinforce", 200),
    "dln": System("L2T-DLN", "loss_network", "lstm", "two_unrolls", 15),
    "dlf": System("L2T-DLF, online", "matrix", "attention", "reverse", 200),
}


def run(quick: bool, steps: Sequence[int] | None = None, repeats: int | None = None) -> dict[str, Any]:
    """Measure a window of the MLP, and its peak memory.

    Args:
        steps, repeats: replace those of each system.
    """
    rows = [
        _row(key, t, repeats or REPEATS)
        for key, system in SYSTEMS.items()
        for t in steps or (min(system.window, QUICK_STEPS) if quick else system.window,)
    ]
    return {"dev_images": DEV_IMAGES, "rows": rows}


def table(result: dict[str, Any]) -> str:
    """Write one line for each system and K."""
    lines = [
        [row["system"], row["estimator"], row["steps"], row["n"]]
        + [str(Figure(**row["ratios"][base])) for base in (PLAIN, ALONE)]
        + [f"{1000 * row['seconds'] / row['steps']:.2f}", f"{row['mib']:.0f}"]
        for row in result["rows"]
    ]
    headings = [
        "system",
        "estimator",
        "K",
        "n",
        "ratio to plain training",
        f"ratio to {ALONE}",
        "ms an update",
        "peak, MiB",
    ]
    return markdown(headings, lines)


def window_job(key: str, steps: int) -> Callable[[], Any]:
    """Return a window, ready for a separate process."""
    window_of(key, WARM_UP_STEPS)()
    return window_of(key, steps)


def window_of(key: str, steps: int) -> Callable[[], list[Tensor]]:
    """Return what trains a student for one window, measures it, and takes the gradient of θ."""
    system = SYSTEMS[key]
    student = StudentSettings("mlp", IMAGES, LEARNING_RATE, momentum=0.0, epochs=1, progress_images=DEV_IMAGES)
    settings = TeachingSettings(
        form=system.form, teacher=system.teacher, estimator=system.estimator, collapse_share=0.0, validate_every=1
    )
    school = ImageSchool(_data(steps * IMAGES, DEV_IMAGES), student, settings)
    family, teacher = ImageFamily(school, AdaptationSettings(window=steps)), school.untaught()
    lesson = family.lesson(0)
    child = Child.at_start(lesson, teacher)

    def trained() -> list[Tensor]:
        window = Window(lesson, 0, steps, child.state, tuple(child.memory))
        guidance = window.guidance(teacher, len(family.features))
        found = family.estimator(window, guidance, guidance.along)
        assert found.collapse is None, found.collapse
        return list(torch.autograd.grad(found.loss, list(teacher.parameters()), allow_unused=True))

    return trained


def _row(key: str, steps: int, repeats: int) -> dict[str, Any]:
    case, system = build("mlp", "quick"), SYSTEMS[key]

    def methods(steps: int) -> dict[str, Callable[[], Any]]:
        plain, alone = partial(_plainly, case, steps), partial(ours.forward, case, steps)
        return {PLAIN: plain, ALONE: alone, key: window_of(key, steps)}

    seconds = interleaved(methods(steps), repeats, methods(WARM_UP_STEPS))
    found = {base: ratios(seconds, base)[key] for base in (PLAIN, ALONE)}
    mib = peak_mib(f"{__package__}.adaptation:{window_job.__name__}", key=key, steps=steps)
    progress(f"adaptation: {system.name}, K = {steps}: {found[PLAIN]} times plain training, {mib:.0f} MiB")
    return {
        "system": system.name,
        "estimator": system.estimator,
        "steps": steps,
        "n": repeats,
        "ratios": {base: ratio._asdict() for base, ratio in found.items()},
        "seconds": figure(seconds[key]).median,
        "mib": mib,
    }


def _plainly(case: Case, steps: int) -> Tensor:
    return peers.train_plainly(case, copy.deepcopy(case.module), steps)


def _data(train: int, dev: int) -> ImageData:
    """Return random images of MNIST's size."""
    generator = torch.Generator().manual_seed(1)

    def images(number: int) -> ImageSet:
        pixels = torch.rand(number, 1, 28, 28, generator=generator)
        return ImageSet(pixels, torch.randint(CLASSES, (number,), generator=generator))

    names = tuple(str(label) for label in range(CLASSES))
    return ImageData("random", names, images(train), images(dev), images(CLASSES), augments=False, fingerprint="0" * 8)
