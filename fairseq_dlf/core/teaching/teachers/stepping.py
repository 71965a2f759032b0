"""The interface of a teacher that moves Φ by its gradient."""

from abc import abstractmethod

import torch
from torch import Tensor

from fairseq_dlf.core.teaching.teachers.teacher import Memory, Teacher


class SteppingTeacher(Teacher):
    """A teacher that gives one Φ for a whole lesson, and the next one from that lesson's gradient.

    Its memory begins with the present Φ, which does not depend on θ; what does is the step from there (`advance`).
    The memory is kept among the teacher's tensors, so that lessons in a row, checkpoints and teacher files go on from
    it. An estimator such as `TwoUnrolls` moves it on (`keep`).
    """

    reads_progress = False

    @property
    def coefficients(self) -> int:
        return self.start()[0].numel()

    @property
    def features(self) -> None:
        return None

    def forward(self, progress: Tensor, memory: Memory = ()) -> tuple[Tensor, Memory]:
        memory = memory or self.start()
        return memory[0].expand(progress.size(0), -1), memory

    def bound(self, low: Tensor, high: Tensor) -> None:
        """Move the present Φ within its bounds; a step from there may leave them until it is kept and bounded."""
        phi, *rest = self.start()
        self.keep((torch.clamp(phi, low, high), *rest))

    @abstractmethod
    def advance(self, memory: Memory, gradient: Tensor) -> Memory:
        """Return the memory after a step, which begins with the next Φ, with a graph to θ.

        Args:
            memory: before the step.
            gradient: of what Φ is to lower, −∂M̃/∂Φ, (coefficients,); its own graph is not followed.
        """

    @abstractmethod
    def keep(self, memory: Memory) -> None:
        """Go on from this memory: `start` returns it, without a graph."""
