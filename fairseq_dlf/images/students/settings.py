"""How a student is trained, and the paper's settings for each data set and model."""

import os
from dataclasses import dataclass, field
from typing import Any

import torch

from fairseq_dlf.core.hypergradient.update_rules import SGD
from fairseq_dlf.core.support.checks import require_at_least, require_between, require_positive, require_rate
from fairseq_dlf.core.support.errors import InputError, brief
from fairseq_dlf.core.support.signature import Part, part_of

# More threads than this per core gain nothing and may exhaust the machine.
THREADS_OF_A_CORE = 4
PROGRESS_SETTINGS = ("progress_points", "progress_images")


def _option(default: Any, text: str, option: str | None = None) -> Any:
    """Return a field with its help and the name of its option, from which the command line is built."""
    return field(default=default, metadata={"help": text, "option": option})


@dataclass(frozen=True)
class StudentSettings:
    """The training of one student by momentum SGD; each field is an option, its help the field's description.

    The command line takes `paper_settings` for options without a value.

    Raises:
        InputError: a setting is out of range.
    """

    model: str = _option("mlp", "mlp[-WIDTH], lenet, resnet-DEPTH, wrn-DEPTH-WIDTH, densenet-DEPTH-GROWTH")
    batch_size: int = _option(20, "images in a batch")
    learning_rate: float = _option(0.05, "the student's learning rate before the first milestone", "--lr")
    momentum: float = _option(0.9, "momentum of SGD, in [0, 1)")
    weight_decay: float = _option(0.0, "weight decay, which adds this times ω to the gradient")
    epochs: float = _option(20.0, "length of the run in epochs, which may be a fraction")
    milestones: tuple[float, ...] = _option((), "shares of the run, ascending, after which the rate is divided by 10")
    progress_points: int = _option(20, "number of measurements of s_t in a run, evenly spaced")
    progress_images: int = _option(1000, "images of train, and of dev, for each of these measurements; 0 uses all")

    def __post_init__(self) -> None:
        require_positive(
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            epochs=self.epochs,
            progress_points=self.progress_points,
        )
        require_at_least(0, progress_images=self.progress_images, weight_decay=self.weight_decay)
        require_rate(momentum=self.momentum)
        if list(self.milestones) != sorted(self.milestones) or not all(0.0 < m < 1.0 for m in self.milestones):
            raise InputError(
                f"milestones are {self.milestones}, but must be ascending shares of the run between 0 and 1, "
                "such as 0.5,0.75",
                setting="milestones",
            )

    @property
    def rule(self) -> SGD:
        """The update rule."""
        return SGD(self.momentum, weight_decay=self.weight_decay)

    def updates(self, steps_per_epoch: int) -> int:
        """Return T, the number of updates of the run."""
        return max(1, round(self.epochs * steps_per_epoch))

    def rate(self, t: int, updates: int) -> float:
        """Return η_t, the learning rate of update t, counted from 0."""
        passed = sum(t >= share * updates for share in self.milestones)
        return self.learning_rate * 0.1**passed

    @property
    def signature(self) -> Part:
        """The settings that change a student without a teacher."""
        return part_of(self, without=PROGRESS_SETTINGS)

    @property
    def progress_signature(self) -> Part:
        """The settings that change s_t."""
        return {name: getattr(self, name) for name in PROGRESS_SETTINGS}


def paper_settings(data: str, model: str) -> dict[str, object]:
    """Return the paper's settings for a kind of data and a model, as fields of `StudentSettings`.

    For other data they are ours. The epochs are those of a full run.

    Paper: section 5.1 and its appendix.
    """
    if data.startswith("cifar"):
        return {
            "batch_size": 128,
            "learning_rate": 0.1,
            "weight_decay": 1e-4,
            "epochs": 80.0,
            "milestones": (0.5, 0.75),
        }
    if data == "mnist":
        return {"batch_size": 500 if model == "lenet" else 20, "learning_rate": 0.01, "epochs": 20.0}
    return {"batch_size": 20, "learning_rate": 0.05, "epochs": 30.0}


def chosen_device(name: str | None) -> torch.device:
    """Return the device of that name or, without a name, a GPU if the machine has one.

    Raises:
        InputError: the device does not exist, or cannot hold numbers.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(
            f"the device {name} cannot be used ({brief(error)}): pass cpu or leave it out", setting="device"
        ) from error
    return device


def use_threads(count: int) -> None:
    """Make torch use that many threads of the CPU.

    Raises:
        InputError: the number is less than one, or many times the number of cores.
    """
    require_between(1, THREADS_OF_A_CORE * (os.cpu_count() or 1), threads=count)
    torch.set_num_threads(count)
