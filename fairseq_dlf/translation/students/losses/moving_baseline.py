"""A moving average of a logged figure over updates, the same on all workers and after a resume."""

from collections.abc import Mapping, Sequence
from typing import Any

from fairseq.tasks import FairseqTask

from fairseq_dlf.translation.hooks.task_state import keep, kept
from fairseq_dlf.translation.hooks.updates import watch_figures

STATE = "moving_baseline"


class MovingBaseline:
    """b = Σ_k decay^k x_{t−k} / Σ_k decay^k over the means x of past updates; 0 before the first update.

    Args:
        figure: name in the logging outputs; x is its mean over the batches of an update and over workers.
    """

    def __init__(self, task: FairseqTask, decay: float, figure: str):
        self._task = task
        self._decay = decay
        self._figure = figure
        watch_figures(task, self._observe)

    @property
    def value(self) -> float:
        """Return b."""
        state = self._state()
        return state["sum"] / state["weight"] if state["weight"] > 0 else 0.0

    def _state(self) -> dict[str, float]:
        """Return the sums of both series, which fairseq saves with the run."""
        state = kept(self._task, STATE)
        if state is None:
            state = {"sum": 0.0, "weight": 0.0}
            keep(self._task, STATE, state)
        return state

    def _observe(self, outputs: Sequence[Mapping[str, Any]]) -> None:
        batches = sum(float(output.get("dlf_logs", 0)) for output in outputs)
        if batches > 0:
            state = self._state()
            mean = sum(float(output.get(self._figure, 0.0)) for output in outputs) / batches
            state["sum"] = self._decay * state["sum"] + mean
            state["weight"] = self._decay * state["weight"] + 1.0
