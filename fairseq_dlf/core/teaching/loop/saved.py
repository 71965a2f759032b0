"""What a run of teaching keeps in its folder to go on."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from fairseq_dlf.core.files.run_folder import STATE_NAME, read_state, save_state
from fairseq_dlf.core.files.tensor_file import require_float32
from fairseq_dlf.core.support.errors import InputError, brief
from fairseq_dlf.core.teaching.estimators.estimator import Estimator, restore
from fairseq_dlf.core.teaching.loop.collapse import CollapseWatch
from fairseq_dlf.core.teaching.teachers.teacher import Teacher

Saved = TypeVar("Saved", bound="SavedTeaching")


@dataclass(frozen=True)
class SavedTeaching:
    """The state of a run in its folder.

    Attributes:
        done: number of completed teacher steps.
        teacher, optimizer: their states.
        best_step, best_value: step and value of the best validation.
        collapses: as in `CollapseWatch.state`.
        estimator: as `state_of` gives it.
    """

    done: int
    teacher: dict[str, Tensor]
    optimizer: dict[str, Any]
    best_step: int
    best_value: float
    collapses: dict[str, float]
    estimator: dict[str, Any] = field(default_factory=dict)

    def write(self, folder: Path, signature: str) -> None:
        """Replace the folder's state."""
        save_state(folder, signature, self.contents())

    def contents(self) -> dict[str, Any]:
        """Return the fields by name, of what checkpoints can hold."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @classmethod
    def read(cls: type[Saved], folder: Path, signature: str) -> Saved | None:
        """Return the folder's state, or None if it has none.

        Raises:
            InputError: the state is damaged, or of another run.
        """
        return read_state(folder, signature, cls)

    def put_into(
        self,
        teacher: Teacher,
        optimizer: torch.optim.Optimizer,
        collapses: CollapseWatch,
        estimator: Estimator,
        folder: Path,
    ) -> None:
        """Continue from this state, whose fields have the right types but may not fit this teacher.

        Args:
            folder: where it was read, for messages.

        Raises:
            InputError: it does not fit.
        """
        again = f"delete {folder} to start that run again"
        require_float32(folder / STATE_NAME, self.teacher, again)
        try:
            collapses.restore(self.collapses)
            restore(estimator, self.estimator)
            teacher.load_state_dict(self.teacher)
            # The settings come from the plan, and only the moments from the state.
            optimizer.load_state_dict({**optimizer.state_dict(), "state": self.optimizer["state"]})
            fits = all(_has_moments(optimizer, parameter) for parameter in teacher.parameters())
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise InputError(f"{folder / STATE_NAME} is damaged ({brief(error)}): {again}") from error
        if not fits or not 0 <= self.best_step <= self.done:
            raise InputError(f"{folder / STATE_NAME} is damaged (its numbers do not fit this teacher): {again}")


def _has_moments(optimizer: torch.optim.Optimizer, parameter: torch.nn.Parameter) -> bool:
    """Return whether Adam has moments that fit a parameter, or none at all, as before its first step."""
    moments = optimizer.state.get(parameter, {})
    if not moments:
        return True
    shapes = {"step": torch.Size(), "exp_avg": parameter.shape, "exp_avg_sq": parameter.shape}
    found = {name: value.shape for name, value in moments.items()}
    return found == shapes and all(bool(value.isfinite().all()) for value in moments.values())
