"""An episode of a student of translation: all that its updates depend on but Φ."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from fairseq_dlf.core.hypergradient.student import Buffers, Student
from fairseq_dlf.core.hypergradient.update_rules import StudentState, UpdateRule
from fairseq_dlf.core.teaching.lesson import LessonStep
from fairseq_dlf.translation.bleu.decoding import on_device
from fairseq_dlf.translation.episodes.batches import StudentBatches
from fairseq_dlf.translation.episodes.past import with_past
from fairseq_dlf.translation.measures import TranslationMeasure


@dataclass(frozen=True)
class TranslationLesson:
    """An episode of a student; a `Lesson` of the core.

    Attributes:
        student: the student, on the device of the run.
        rule: its update rule.
        start: the student before the first update.
        updates: T.
        interval: updates between two measurements of its BLEU; T where it is measured at the start only.
        measure: of the student on dev.
        seen: BLEU / 100 of train and dev for a student at ω before update t, (2,).
        batches: all that the student can be given.
        order: the number of the batch of each update, (T,).
        rates: η_t, (T,).
        seeds: of the dropout masks, (T,).
        reads_past: whether the student's loss reads the predictions of its start.
    """

    student: Student
    rule: UpdateRule
    start: StudentState
    updates: int
    interval: int
    measure: TranslationMeasure
    seen: Callable[[int, Tensor], Tensor]
    batches: StudentBatches
    order: Sequence[int]
    rates: Sequence[float]
    seeds: Sequence[int]
    reads_past: bool = False

    def step(self, t: int) -> LessonStep:
        """Return batch, seed and rate of update t."""
        batch = on_device(self.batches[self.order[t]], self.start.params.device)
        if self.reads_past:
            batch = with_past(self.student, self.start.params, batch)
        return LessonStep(batch, self.seeds[t], self.rates[t])

    def observe(self, t: int, params: Tensor, buffers: Buffers) -> Tensor:
        """Measure BLEU by greedy decoding, (features − 1,); fairseq's students keep no figures in buffers."""
        return self.seen(t, params)
