"""What is told of a lesson before hours are spent on it, in lines for people, whatever the front end."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from fairseq_dlf.core.hypergradient.episode import EpisodePlan
from fairseq_dlf.core.hypergradient.probe import kinks_of
from fairseq_dlf.core.hypergradient.student import Buffers, Student
from fairseq_dlf.core.hypergradient.unroll import Unroll, Watch
from fairseq_dlf.core.support.durations import human_duration
from fairseq_dlf.core.teaching.foresight import Cost, constant_run, cost_of, first_point, metasmoothness
from fairseq_dlf.core.teaching.lesson import Lesson

# Multiples of the Φ where teaching starts, and shares of a uniform target.
CONSTANTS, SHARES = (0.5, 1.0, 1.5), (0.0, 0.1, 0.3)
# Below, a step of the teacher does hardly what its gradient says.
ROUGH = 0.5


class Trial(NamedTuple):
    """A loss that does not change along the run, with which a student is trained.

    Attributes:
        title: the loss in words.
        lesson: the student's run with the form of this Φ.
        coefficients: Φ, (coefficients,).
    """

    title: str
    lesson: Lesson
    coefficients: Tensor


def constant_trials(
    lesson: Lesson, times_neutral: Callable[[float], Tensor], start: float = 1.0, neutral: bool = True
) -> list[Trial]:
    """Return trials of Φ around the one where teaching starts.

    Args:
        times_neutral: gives a multiple of the neutral Φ, with all other coefficients as they start, (coefficients,).
        start: the Φ where teaching starts, as a multiple of the neutral one.
        neutral: whether there is a neutral Φ (`Form.starts_neutral`); if not, the start is the only trial.
    """
    if not neutral:
        return [Trial("Φ where teaching starts", lesson, times_neutral(start))]
    factors = [start * constant for constant in CONSTANTS]
    return [Trial(f"Φ = {factor:g} times neutral", lesson, times_neutral(factor)) for factor in factors]


def share_title(share: float, scale: float = 1.0) -> str:
    """Return the title of a trial with a share of a uniform target, whose coefficients add up to a scale."""
    return f"Φ {'' if scale == 1.0 else f'of scale {scale:g} '}with a uniform share of {share:g}"


def _unwatched(label: str) -> AbstractContextManager[Watch | None]:
    return nullcontext()


@dataclass(frozen=True)
class Prospect:
    """A lesson before hours are spent on it.

    Attributes:
        lesson: the lesson.
        start: Φ where teaching starts, (coefficients,).
        plan: of its episode.
        products: whether the estimator takes second-order products.
        observed: whether the teacher looks at s_t.
        kept: what of an episode's past is kept, in words.
        constants, shares: losses to compare, the second with shares of a uniform target; none where Φ has none.
        score: of a student at ω with buffers, in points, higher is better.
        score_name: what it is, in words.
        smoother: options that make a run smoother in Φ, in words.
        updates: of each training, the lesson's first.
        watch: from the label of a training to a context of what is told of its progress.
        low: bounds of the coefficients, (coefficients,), which no training goes below; None if there are none.
    """

    lesson: Lesson
    start: Tensor
    plan: EpisodePlan
    products: bool
    observed: bool
    kept: str
    constants: Sequence[Trial]
    shares: Sequence[Trial]
    score: Callable[[Student, Tensor, Buffers], float]
    score_name: str
    smoother: str
    updates: int
    watch: Callable[[str], AbstractContextManager[Watch | None]] = _unwatched
    low: Tensor | None = None

    @property
    def cost(self) -> Cost:
        """Seconds of the parts of an episode. Cost: a few of each."""
        return cost_of(self.lesson, self.start, self.plan.curvature if self.products else None)

    def forward_s(self, cost: Cost) -> float:
        """Return the seconds of a whole run of the student, and of one measure."""
        return cost.forward_s(self.lesson, self.observed)

    @property
    def span(self) -> str:
        """How many updates a training has, in words."""
        of_all = "" if self.updates == self.lesson.updates else f" of {self.lesson.updates:,}"
        return f"{self.updates:,}{of_all} updates"

    def trained(self, label: str, lesson: Lesson, coefficients: Tensor) -> Unroll:
        """Train a student with one Φ all along."""
        with self.watch(label) as watch:
            return constant_run(lesson, coefficients, self.updates, watch)


def derivative_lines(prospect: Prospect) -> Iterator[str]:
    """Say what a student's derivatives are fit for, which its front end has tried."""
    if not prospect.products:
        yield "second-order products: the estimator takes none"
        return
    yield "second-order products: the student can be differentiated as the options want"
    kinks = kinks_of(prospect.lesson.student, first_point(prospect.lesson, prospect.start))
    yield f"kinks: {', '.join(kinks)}: differences of gradients would be wrong" if kinks else "kinks: none"


def price_line(prospect: Prospect, cost: Cost) -> str:
    """Say what an episode will cost by the time of its parts, the measures without their gradient."""
    plan, forward = prospect.plan, human_duration(prospect.forward_s(cost))
    parts = {"an update": cost.update_s, "a measure": cost.measure_s}
    if prospect.observed:
        parts["an observation"] = cost.observe_s
    if not prospect.products:
        return f"a training of {plan.steps:,} updates: about {forward} ({_listed(parts)})"
    parts["a step back"] = cost.reverse_s
    both = f"about {forward} forward and {human_duration(cost.back_s(plan))} back"
    return f"an episode of {plan.steps:,} updates: {both} ({_listed(parts)}); {prospect.kept}"


def _listed(parts: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {human_duration(seconds)}" for name, seconds in parts.items())


def movement_lines(prospect: Prospect) -> Iterator[str]:
    """Say how Φ moves a student, each line as soon as it is known: smoothness, scores of trials, leverage, advice.

    Cost: three trainings, and one for each trial.
    """
    labels = (f"smoothness {number}/3" for number in (1, 2, 3))
    smoothness = metasmoothness(
        lambda phi: prospect.trained(next(labels), prospect.lesson, phi).final.params,
        prospect.start,
        low=prospect.low,
    )
    yield f"smoothness in Φ over {prospect.span}: {smoothness:.2f} (1 is best, 0 is chance)"
    yield f"{prospect.score_name} after {prospect.span}:"
    student = prospect.lesson.student
    yield f"  before: {prospect.score(student, prospect.lesson.start.params, student.buffers()):.2f}"
    of_phi = yield from _trial_lines(prospect, prospect.constants)
    of_shares = yield from _trial_lines(prospect, prospect.shares)
    none = "none, for lack of such a Φ,"
    constants = f"{of_phi:.2f} points" if len(prospect.constants) > 1 else none
    shares = f"{of_shares:.2f}" if prospect.shares else none
    yield f"leverage: {constants} between constant Φ, {shares} between shares of smoothing"
    yield _advice(smoothness, prospect.smoother)


def _trial_lines(prospect: Prospect, trials: Sequence[Trial]) -> Generator[str, None, float]:
    """Say what each loss makes of the student; return how many points lie between them."""
    scores = []
    for trial in trials:
        done = prospect.trained(trial.title, trial.lesson, trial.coefficients)
        scores.append(prospect.score(trial.lesson.student, done.final.params, done.buffers))
        yield f"  {trial.title}: {scores[-1]:.2f}, mean loss {float(done.losses.mean()):.3f}"
    return max(scores, default=0.0) - min(scores, default=0.0)


def _advice(smoothness: float, smoother: str) -> str:
    # Written so that the smoothness of a run that has diverged, no number, is rough.
    if not smoothness >= ROUGH:
        return f"advice: below a smoothness of {ROUGH:g}, a step of the teacher hardly does what it should: {smoother}"
    return "advice: smooth enough to teach; expect little where the leverage is within the noise of the score"
