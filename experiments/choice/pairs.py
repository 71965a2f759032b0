"""The figures of all measures with one form: one training that they share, then trainings with moved Φ."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from experiments.choice.records import Figures, Interval, Move, Seconds, Side
from experiments.choice.sentences import DevParts, UnseenBleu, dev_parts
from experiments.choice.table import PARTS, Choice
from experiments.significance import Statistics, corpus_bleu, paired_interval
from fairseq_dlf.core.hypergradient.reverse import Hypergradient
from fairseq_dlf.core.support.errors import StateError
from fairseq_dlf.core.teaching.agreement import (
    MeasuredEnd,
    SharedEpisode,
    cosine,
    in_parts,
    move_along,
    random_signs,
    shared_episode,
)
from fairseq_dlf.core.teaching.foresight import Cost, constant_run, step_cost
from fairseq_dlf.core.teaching.guidance import Guidance
from fairseq_dlf.core.teaching.teachers.static import StaticTeacher
from fairseq_dlf.translation.episodes.lesson import TranslationLesson
from fairseq_dlf.translation.measures import TranslationMeasure
from fairseq_dlf.translation.tools.teaching_task import TeachingTask


def pairs_of(taught: TeachingTask, choice: Choice, measures: Sequence[str]) -> Iterator[Figures]:
    """Yield the figures of each measure with the form of a task, as soon as they are found.

    Raises:
        InputError, StateError: dev is too small, or the student cannot be taught in this way.

    Cost: a training with neutral Φ; for each measure two values with gradients, two products a step (one reverse
        pass for all), and 2 (moves + 1) trainings, each with a value and a greedy decoding.
    """
    lessons, device = taught.lessons, taught.device
    lesson = lessons.lesson(0, 0, device)
    phi = lessons.loss.start(len(taught.task.target_dictionary)).to(lesson.start.params)
    lessons.check(lesson, Guidance(lesson, StaticTeacher(phi), features=1))
    parts = dev_parts(len(lessons.dev), choice)
    halves = [lessons.measure_on(m, h, device, choice.seed) for m in measures for h in (parts.first, parts.second)]
    episode = shared_episode(lesson, phi, halves, lessons.plan)
    unseen = UnseenBleu(taught, parts.unseen)
    before, neutral = (unseen.statistics(lesson.student, at) for at in (lesson.start.params, episode.params))
    bleus = (_bleu(before), _bleu(neutral))
    reverse_s = _reverse_s(taught, lesson, phi, episode)
    for ends, second in zip(_in_twos(episode.ends), halves[1::2], strict=True):
        trials = _Trials(lesson, phi, ends, second, unseen, neutral)
        seconds = Seconds(episode.forward_s, reverse_s, ends[0].measure_s)
        yield _figures(trials, choice, parts, bleus, seconds)


def _in_twos(ends: Sequence[MeasuredEnd]) -> Iterator[tuple[MeasuredEnd, MeasuredEnd]]:
    return zip(ends[::2], ends[1::2], strict=True)


def _reverse_s(taught: TeachingTask, lesson: TranslationLesson, phi: Tensor, episode: SharedEpisode) -> float:
    """Return the seconds of a reverse pass of one cotangent: those of one step, in units of the timed updates."""
    plan = taught.lessons.plan
    cost = step_cost(lesson, phi, plan.curvature)
    update_s = episode.forward_s / plan.steps
    return Cost(update_s, 0.0, update_s * cost.reverse_s / cost.update_s, 0.0).back_s(plan)


def _figures(
    trials: "_Trials", choice: Choice, parts: DevParts, bleus: tuple[float, float], seconds: Seconds
) -> Figures:
    first, second = (end.hypergradient for end in trials.ends)
    direction = trials.direction(choice.direction)
    control = random_signs(direction, choice.seed)
    return Figures(
        coefficients=len(direction),
        sentences=(len(parts.first), len(parts.second), len(parts.unseen)),
        values=(trials.ends[0].value, trials.ends[1].value),
        cosine=_cosines(first, second, 1)[0],
        cosines=_cosines(first, second, PARTS),
        leverage=(first.leverage, second.leverage),
        growth=(first.growth, second.growth),
        bleu_before=bleus[0],
        bleu_neutral=bleus[1],
        moves=tuple(trials.move(direction, share) for share in choice.moves),
        control=trials.move(control, choice.moves[-1]),
        seconds=seconds,
    )


def _cosines(first: Hypergradient, second: Hypergradient, parts: int) -> tuple[float | None, ...]:
    return tuple(cosine(*both) for both in zip(in_parts(first, parts), in_parts(second, parts), strict=True))


@dataclass(frozen=True)
class _Trials:
    """Trainings with moved Φ.

    Attributes:
        lesson: with the same batches and dropout masks each time.
        phi: neutral Φ.
        ends: what the measure says of the run with neutral Φ, on both halves.
        measure: on the second half.
        unseen: greedy BLEU.
        neutral: its statistics after the run with neutral Φ.
    """

    lesson: TranslationLesson
    phi: Tensor
    ends: tuple[MeasuredEnd, MeasuredEnd]
    measure: TranslationMeasure
    unseen: UnseenBleu
    neutral: Statistics

    def direction(self, kind: str) -> Tensor:
        """Return the direction of the first half, (coefficients,)."""
        found = self._slopes()[0]
        if not bool(found.any()):
            raise StateError("the measure does not depend on Φ at all: lengthen the run, or take more dev sentences")
        return found.sign() if kind == "sign" else found

    def move(self, direction: Tensor, share: float) -> Move:
        """Move Φ along a direction, to and fro."""
        step = move_along(direction, self.phi, share)
        (ahead, there), (back, behind) = (self._side(sign * step) for sign in (1, -1))
        low, high = paired_interval(there, behind)
        return Move(
            share=share,
            norm=float(step.norm() / self.phi.norm()),
            predicted=float(self._slopes()[0] @ step),
            expected=float(self._slopes()[1] @ step),
            ahead=ahead,
            back=back,
            half_bleu=(_bleu(there) - _bleu(behind)) / 2,
            half_interval_95=(low / 2, high / 2),
        )

    def _slopes(self) -> list[Tensor]:
        return [end.hypergradient.coefficients.sum(dim=0) for end in self.ends]

    def _side(self, step: Tensor) -> tuple[Side, Statistics]:
        run = constant_run(self.lesson, self.phi + step, self.lesson.updates)
        if not bool(run.losses.isfinite().all()):
            raise StateError("a student with moved Φ diverged: take smaller --moves, or a smaller --student-lr")
        found = self.unseen.statistics(self.lesson.student, run.final.params)
        interval: Interval = paired_interval(found, self.neutral)
        value = self.measure.value(run.final.params) - self.ends[1].value
        return Side(value, _bleu(found) - _bleu(self.neutral), interval), found


def _bleu(statistics: Statistics) -> float:
    return float(corpus_bleu(statistics.sum(0)))
