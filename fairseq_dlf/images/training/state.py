"""The state of a student's training, which its folder keeps to continue from."""

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fairseq_dlf.core.files.run_folder import STATE_NAME, read_state, save_state
from fairseq_dlf.core.hypergradient.update_rules import StudentState
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.images.records.training import EpochFigures


@dataclass(frozen=True)
class TrainingState:
    """A student between two epochs.

    Attributes:
        params: ω, (parameters,).
        slots: of the update rule, (parameters,) each.
        buffers: of the module, by name.
        progress: s_t of the updates, as in `Guidance`.
        updates: number of completed updates.
        curve: one row per completed epoch.
        best_accuracy, best_epoch: by dev; -1 and 0 before the first epoch.
        elapsed_s: seconds of the updates.
    """

    params: Tensor
    slots: list[Tensor]
    buffers: dict[str, Tensor]
    progress: Tensor
    updates: int
    curve: list[EpochFigures]
    best_accuracy: float
    best_epoch: int
    elapsed_s: float

    @classmethod
    def at_start(cls, student: StudentState, buffers: dict[str, Tensor], progress: Tensor) -> "TrainingState":
        """Return the state before the first epoch."""
        return cls(student.params, list(student.slots), buffers, progress, 0, [], -1.0, 0, 0.0)

    @property
    def student(self) -> StudentState:
        """Parameters and slots."""
        return StudentState(self.params, tuple(self.slots))

    @property
    def is_best(self) -> bool:
        """Whether the last epoch is the best by dev."""
        return self.best_epoch == len(self.curve)

    def after(
        self, student: StudentState, buffers: dict[str, Tensor], updates: int, elapsed_s: float
    ) -> "TrainingState":
        """Return the state after further updates, whose figures are not measured yet."""
        return replace(
            self,
            params=student.params,
            slots=list(student.slots),
            buffers=buffers,
            updates=self.updates + updates,
            elapsed_s=self.elapsed_s + elapsed_s,
        )

    def measured(self, figures: EpochFigures) -> "TrainingState":
        """Return the state with the figures of the epoch that it completes."""
        better = figures.dev_accuracy > self.best_accuracy
        return replace(
            self,
            curve=[*self.curve, figures],
            best_accuracy=figures.dev_accuracy if better else self.best_accuracy,
            best_epoch=figures.epoch if better else self.best_epoch,
        )

    def save(self, folder: Path, signature: str) -> None:
        """Replace the folder's state."""
        state = {each.name: getattr(self, each.name) for each in fields(self)}
        save_state(folder, signature, state | {"curve": [asdict(row) for row in self.curve]})

    def restored(self, folder: Path, signature: str, updates_per_epoch: int, planned: int) -> "TrainingState | None":
        """Return the folder's state on the device of this one, which is the run's start; None if there is no state.

        Raises:
            InputError: the state is damaged, or of another run.
        """
        saved = read_state(folder, signature, TrainingState)
        if saved is None:
            return None
        tensors, wanted = saved._tensors(), self._tensors()
        wrong = [name for name in {**wanted, **tensors} if _layout(tensors.get(name)) != _layout(wanted.get(name))]
        rows = len(saved.curve)
        if saved.updates != min(rows * updates_per_epoch, planned) or not 0 < saved.best_epoch <= rows:
            wrong.append("updates")
        if wrong:
            raise InputError(
                f"{folder / STATE_NAME} is damaged: {', '.join(wrong[:4])} do not fit this run; delete {folder} to "
                "start that run again"
            )
        return saved._to(self.params.device)

    def _to(self, device: torch.device) -> "TrainingState":
        changes: dict[str, Any] = {
            "params": self.params.to(device),
            "slots": [slot.to(device) for slot in self.slots],
            "buffers": {name: buffer.to(device) for name, buffer in self.buffers.items()},
            "progress": self.progress.to(device),
        }
        return replace(self, **changes)

    def _tensors(self) -> dict[str, Tensor]:
        slots = {f"slot {place}": slot for place, slot in enumerate(self.slots)}
        return {"params": self.params, "progress": self.progress, **self.buffers, **slots}


def _layout(tensor: Tensor | None) -> object:
    return None if tensor is None else (tensor.shape, tensor.dtype)
