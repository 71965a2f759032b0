"""The interface of a smoothed measure of translation students, and the measures by name."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, Optional

import torch
from fairseq.models import BaseFairseqModel
from fairseq.tasks import FairseqTask
from torch import Tensor

from fairseq_dlf.core.hypergradient.episode import MeasuredCotangent
from fairseq_dlf.core.hypergradient.student import Student
from fairseq_dlf.core.support.registry import Registry
from fairseq_dlf.core.support.signature import Part
from fairseq_dlf.translation.bleu.decoding import evaluating, module_at
from fairseq_dlf.translation.bleu.expected import ExpectedBleuSettings


class DevSample(NamedTuple):
    """What a student is measured on.

    Attributes:
        task: with the dictionaries.
        student: the student; its module is used in evaluation mode.
        batches: this worker's dev batches.
        seed: of the candidates, the same at every ω, so that the measures before and after an episode differ by
            the student and not by the draw.
        settings: which candidates a measure of translations compares.
    """

    task: FairseqTask
    student: Student
    batches: Sequence[dict[str, Any]]
    seed: int
    settings: ExpectedBleuSettings

    @property
    def padding(self) -> int:
        """Return the index of the padding symbol."""
        return int(self.task.target_dictionary.pad())


class Terms(NamedTuple):
    """What a batch adds to a measure.

    Attributes:
        total: the sum of the measure over what is counted, a scalar in float32 or better.
        number: of what the measure is a mean over: sentences, or tokens.
        surrogate: a scalar with a graph whose gradient estimates that of the sum; None if gradients are off.
    """

    total: Tensor
    number: int
    surrogate: Optional[Tensor]


class TranslationMeasure(ABC):
    """M̃(ω), a mean over dev in [0, 1], higher is better.

    A measure is a subclass in a separate file, registered by `MEASURES.register(name)`; its constructor's further
    arguments, each with a default, are its options.

    Args:
        dev: what it is computed on.

    Attributes:
        figure: its name in the log, where it appears times 100.
        reads: which of the settings of candidates it reads.
        differentiable: whether it has a gradient.
    """

    figure: ClassVar[str]
    reads: ClassVar[tuple[str, ...]] = ()
    differentiable: ClassVar[bool] = True

    def __init__(self, dev: DevSample):
        self.dev = dev

    @abstractmethod
    def terms(self, params: Tensor, model: BaseFairseqModel, batch: dict[str, Any]) -> Terms:
        """Return what a batch adds; called in evaluation mode.

        Args:
            params: ω, (parameters,), a leaf if gradients are on; `self.dev.student.run(params, …)` calls the model
                with them.
            model: the student's module, which holds the same parameters, for decoding.
        """

    def value(self, params: Tensor) -> float:
        """Return M̃(ω)."""
        with torch.no_grad():
            return self._sums(params, None)[0]

    def value_and_cotangent(self, params: Tensor) -> MeasuredCotangent:
        """Return M̃(ω) and its gradient, or an estimate of it, computed one dev batch at a time."""
        leaf, cotangent = params.detach().requires_grad_(), torch.zeros_like(params)
        with torch.enable_grad():
            value, count = self._sums(leaf, cotangent)
        return MeasuredCotangent(value, self.dev.student.combine(cotangent) / count)

    def _sums(self, params: Tensor, cotangent: Optional[Tensor]) -> tuple[float, float]:
        """Return the measure and its count over all workers; add the gradient of this worker's sum to the cotangent."""
        sums = torch.zeros(2, dtype=torch.float64, device=params.device)
        for batch in self.dev.batches:
            model = module_at(self.dev.student, params.detach())
            with evaluating(model):
                found = self.terms(params, model, batch)
                if cotangent is not None:
                    assert found.surrogate is not None
                    cotangent += torch.autograd.grad(found.surrogate, params)[0]
            sums += torch.stack([found.total.detach().double(), sums.new_tensor(float(found.number))])
        total, count = self.dev.student.combine(sums).tolist()
        return total / count, count


MEASURES: Registry[TranslationMeasure] = Registry("measure")


def measure_signature(spec: str, settings: ExpectedBleuSettings) -> Part:
    """Return all that changes a measure, but for the sentences.

    Args:
        spec: as for `MEASURES.make`.

    Raises:
        InputError: it names no measure, or an option that the measure does not have.
    """
    name, options = MEASURES.parse(spec)
    read = {key: value for key, value in settings.signature.items() if key in MEASURES[name].reads}
    return {"measure": name, **MEASURES.options(name), **options, **read}
