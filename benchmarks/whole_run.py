"""One episode over a whole training run of the MLP, with its past in bounded memory."""

import copy
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import ours, peers
from benchmarks.cases import Case, build, image_case
from benchmarks.peak import peak_mib
from benchmarks.timing import figure, interleaved, markdown, progress, ratios
from fairseq_dlf.images.data.batches import Batches
from fairseq_dlf.images.data.mnist import read_mnist
from fairseq_dlf.images.data.splits import ImageSet
from fairseq_dlf.images.students.lesson import TimedBatch

QUICK_STEPS, FULL_STEPS = (1000,), (5000,)
REPEATS = 3
WARM_UP_STEPS = 20
IMAGES = 20
PLAIN, EPISODE = "plain", "episode"
ORDER_SEED = 1


def run(
    quick: bool, steps: Sequence[int] | None = None, repeats: int | None = None, mnist: str | None = None
) -> dict[str, Any]:
    """Measure the ratio to plain training, and the peak memory, of an episode with the full horizon.

    Args:
        steps, repeats: replace those of the quick or the full size.
        mnist: folder of MNIST's files; without it, images are random.
    """
    case = _case(mnist)
    rows = [_row(case, t, repeats or REPEATS, mnist) for t in steps or (QUICK_STEPS if quick else FULL_STEPS)]
    return {"data": "MNIST" if mnist else "random", "rows": rows}


def table(result: dict[str, Any]) -> str:
    """Write one line for each T."""
    lines = [
        [r["steps"], result["data"], r["n"], f"{r['median']:.2f} ± {r['spread']:.2f}", f"{r['seconds']:.1f}"]
        + [f"{r['mib']:.0f}"]
        for r in result["rows"]
    ]
    return markdown(["T", "images", "n", "ratio to plain training", "s per episode", "peak, MiB"], lines)


def episode_job(steps: int, mnist: str | None) -> Callable[[], Any]:
    """Return the run, ready for a separate process."""
    case = _case(mnist)
    ours.forward(case, 1)
    return partial(ours.episode, case, steps, trajectory=ours.SOME_STATES)


def _row(case: Case, steps: int, repeats: int, mnist: str | None) -> dict[str, Any]:
    methods = {
        PLAIN: partial(peers.train_plainly, case, copy.deepcopy(case.module)),
        EPISODE: partial(ours.episode, case, trajectory=ours.SOME_STATES),
    }
    warm_up = {name: partial(method, WARM_UP_STEPS) for name, method in methods.items()}
    seconds = interleaved({name: partial(method, steps) for name, method in methods.items()}, repeats, warm_up)
    found = ratios(seconds, PLAIN)[EPISODE]
    mib = peak_mib(f"{__package__}.whole_run:{episode_job.__name__}", steps=steps, mnist=mnist)
    progress(f"whole run: T = {steps}: {found} times plain training, {mib:.0f} MiB")
    return {"steps": steps, "seconds": figure(seconds[EPISODE]).median, "mib": mib, **found._asdict()}


def _case(mnist: str | None) -> Case:
    if mnist is None:
        return build("mlp", "quick")
    pixels, labels = read_mnist(Path(mnist).expanduser(), "train")
    batches = Batches(ImageSet(pixels / 255.0, labels), IMAGES, ORDER_SEED)
    steps = batches.steps_per_epoch
    return image_case("mlp", [TimedBatch(*batches.batch(t), t, steps) for t in range(steps)])
