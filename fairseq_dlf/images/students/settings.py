"""How a student is trained, and the paper's settings for each data set and model."""

import os
from dataclasses import dataclass

import torch

from fairseq_dlf.core.hypergradient.update_rules import SGD
from fairseq_dlf.core.support.checks import require_at_least, require_between, require_positive, require_rate
from fairseq_dlf.core.support.errors import InputError, brief
from fairseq_dlf.core.support.signature import Part

# More threads than this for each core use up the machine's, to no end.
THREADS_OF_A_CORE = 4


@dataclass(frozen=True)
class StudentSettings:
    """The training of one student by momentum SGD.

    Attributes:
        model: name of the model, as `build_model` takes it.
        batch_size: images of an update.
        learning_rate: η at the start.
        momentum: μ in [0, 1).
        weight_decay: added to the gradient.
        epochs: length of the run; a part of an epoch is allowed.
        milestones: shares of the run after which η is divided by 10, ascending.
        progress_points: times in a run that the student's progress is measured, evenly spaced.
        progress_images: images of train, and of dev, that it is measured on; 0 is all.
    """

    model: str
    batch_size: int
    learning_rate: float
    momentum: float = 0.9
    weight_decay: float = 0.0
    epochs: float = 20.0
    milestones: tuple[float, ...] = ()
    progress_points: int = 20
    progress_images: int = 1000

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
        """The rule that each update follows."""
        return SGD(self.momentum, weight_decay=self.weight_decay)

    def updates(self, steps_per_epoch: int) -> int:
        """T, the number of updates of the run."""
        return max(1, round(self.epochs * steps_per_epoch))

    def rate(self, t: int, updates: int) -> float:
        """η_t of update t, counted from 0."""
        passed = sum(t >= share * updates for share in self.milestones)
        return self.learning_rate * 0.1**passed

    @property
    def signature_part(self) -> Part:
        """What of these settings changes the student, but for its model and the measurements of its progress."""
        return {
            "optimizer": "sgd",
            "lr": self.learning_rate,
            "momentum": self.momentum,
            "weight_decay": self.weight_decay,
            "batch": self.batch_size,
            "epochs": self.epochs,
            "milestones": self.milestones,
        }

    @property
    def signature(self) -> str:
        """What of these settings changes the student, as one text."""
        fields = [f"sgd:lr{self.learning_rate:g}:m{self.momentum:g}:wd{self.weight_decay:g}"]
        fields.append(f"batch{self.batch_size}:ep{self.epochs:g}")
        if self.milestones:
            fields.append("drop" + ",".join(f"{share:g}" for share in self.milestones))
        return ":".join(fields)


def paper_settings(data: str, model: str) -> dict[str, object]:
    """Return the paper's settings for a kind of data and a model, as fields of `StudentSettings`.

    For data that the paper has not, ours. Epochs are those of a full run.

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
    """Return the device of that name, or without a name a GPU where there is one.

    Raises:
        InputError: there is no such device, or none that holds numbers.
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
    """Have torch use that many threads of the CPU.

    Raises:
        InputError: they are fewer than one, or many more than the machine has cores.
    """
    require_between(1, THREADS_OF_A_CORE * (os.cpu_count() or 1), threads=count)
    torch.set_num_threads(count)
