"""How a teacher learns: the options of `teach`, and of its check, besides the student's."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fairseq_dlf.core.support.checks import require_at_least, require_positive
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.support.registry import Registry
from fairseq_dlf.core.support.signature import Part, part_of
from fairseq_dlf.core.teaching.estimators import ESTIMATORS, learns_from, require_match
from fairseq_dlf.core.teaching.forms import FORMS, Matrix
from fairseq_dlf.core.teaching.teachers import TEACHERS, StochasticTeacher
from fairseq_dlf.images.measures import MEASURES
from fairseq_dlf.images.students.tasks import CLASSIFICATION, TASKS, Task
from fairseq_dlf.images.students.tasks.task import bounds_of

# N in the paper (section 5.1).
PAPER_KEYS = 10
# Enough for most students to have left the start, and few enough to wait for.
CHECK_UPDATES = 500
# These settings change how long a teacher learns and how much memory that takes, but not its state after a step.
_WITHOUT_EFFECT = ("teacher_steps", "trajectory_memory")
# The estimator gives its own part of the signature.
_OF_THE_ESTIMATOR = ("estimator", "truncate", "clip_cotangent", "collapse_share", "growth_limit")
# What has an effect only where an estimator goes back through the run.
_OF_THE_WAY_BACK = ("truncate", "trajectory_memory", "clip_cotangent", "growth_limit")
_CHOSEN = ("task", "teacher", "keys", "key_scale", "measure", "sharpness")
# What has an effect only where Φ acts through a form.
_OF_FORMS = ("form", "ce_share", "phi_diagonal", "phi_off_diagonal", "measure", "sharpness")


class Chosen(NamedTuple):
    """What a spec and the options beside it name.

    Attributes:
        name: in its registry.
        options: all of them.
    """

    name: str
    options: dict[str, float]


def _option(default: Any, text: str) -> Any:
    """Return a field with its help, from which the command line is built."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class TeachingSettings:
    """How a teacher learns; each field is an option of `teach`, its help the field's description.

    Raises:
        InputError: a setting is out of range, or has no effect beside the others.
    """

    teacher_steps: int = _option(60, "number of teacher steps, each one lesson and one update of θ")
    teacher_lr: float = _option(1e-4, "Adam's learning rate on θ (the paper's: 1e-4)")
    form: str = _option("matrix", f"form of Φ: {', '.join(FORMS)}")
    teacher: str = _option("attention", f"kind of teacher: {', '.join(TEACHERS)}")
    estimator: str = _option("reverse", f"estimator of the gradient of θ: {', '.join(ESTIMATORS)}")
    measure: str = _option("expected_accuracy", f"measure on dev, which teaching raises: {', '.join(MEASURES)}")
    keys: int | None = _option(
        None, f"N, number of keys of the teacher attention; with 1, Φ ignores s (default: {PAPER_KEYS})"
    )
    key_scale: float | None = _option(
        None, "standard deviation of V before teaching, in the teacher attention (default: 0.1)"
    )
    phi_start: float = _option(1.0, "Φ before teaching, as a multiple of the neutral one (the identity for a matrix)")
    ce_share: float = _option(0.0, "α, share of cross-entropy in the student's loss; 0 is the paper's loss")
    phi_diagonal: tuple[float, float] | None = _option(None, "bounds LOW,HIGH on the diagonal of a matrix Φ")
    phi_off_diagonal: tuple[float, float] | None = _option(None, "bounds LOW,HIGH on the rest of a matrix Φ")
    truncate: int = _option(0, "K: go back through the last K updates only; 0 goes through all")
    trajectory_memory: str = _option("512MiB", "memory for kept students, and for graphs if all students fit")
    clip_cotangent: float = _option(0.0, "bound on the norm of ∂M/∂ω in the reverse pass; 0 disables it")
    collapse_share: float = _option(
        0.9, "discard a lesson that ends below this share of the measure at its start, or of the best end so far"
    )
    growth_limit: float = _option(1e3, "discard a lesson whose cotangent grows by more than this factor")
    measure_images: int = _option(0, "number of dev images for the measure, drawn anew for each lesson; 0 uses all")
    measure_share: float = _option(
        1.0, "share of dev for the measure; the rest chooses the best teacher; 1 uses all of dev for both (the paper)"
    )
    sharpness: float | None = _option(
        None, "β of expected accuracy, mean q(y) with q ∝ p^β; 1 is the paper's (default: 1)"
    )
    validate_every: int = _option(5, "teacher steps between two validations")
    validation_students: int = _option(1, "number of students in a validation, whose accuracies are averaged")
    seed: int = _option(1, "seed of everything random")
    task: str = _option(CLASSIFICATION, f"what students are trained for: {', '.join(TASKS)}")

    def __post_init__(self) -> None:
        require_at_least(
            1,
            teacher_steps=self.teacher_steps,
            validate_every=self.validate_every,
            validation_students=self.validation_students,
        )
        require_positive(
            teacher_lr=self.teacher_lr,
            phi_start=self.phi_start,
            measure_share=self.measure_share,
            growth_limit=self.growth_limit,
        )
        require_at_least(0, measure_images=self.measure_images)
        if self.measure_share > 1.0:
            raise InputError(
                f"measure_share is {self.measure_share}, but must lie in (0, 1]; 1 is all of dev",
                setting="measure_share",
            )
        if self.sharpness is not None:
            require_positive(sharpness=self.sharpness)
        _ = self.chosen_measure  # raises an error for a name that does not exist
        self._require_pair()
        self._require_task()
        self._require_bounds()

    def _require_pair(self) -> None:
        """Raise InputError where teacher and estimator do not fit, or an option has no effect on the estimator."""
        estimator = ESTIMATORS.parse(self.estimator)[0]
        require_match(ESTIMATORS[estimator], TEACHERS[self.chosen_teacher.name])
        if learns_from(ESTIMATORS[estimator]) is not StochasticTeacher:
            return
        for name in _OF_THE_WAY_BACK:
            if getattr(self, name) != self.__dataclass_fields__[name].default:
                text = f"{name} has no effect, since the estimator {estimator} does not go back: leave it out"
                raise InputError(text, setting=name)

    def _require_task(self) -> None:
        """Raise InputError where the teacher does not read what the task offers, or an option has no effect on it."""
        task, kind = self.chosen_task, self.chosen_teacher.name
        wanted = task.statistics_read
        if wanted is not None and TEACHERS[kind].statistics != wanted:
            fit = ", ".join(name for name in TEACHERS if TEACHERS[name].statistics == wanted)
            raise InputError(
                f"the task {task.name} has a statistic for each coefficient, which the teacher {kind} does not read: "
                f"take {fit}",
                setting="teacher",
            )
        for name in () if task.has_forms else _OF_FORMS:
            if getattr(self, name) != self.__dataclass_fields__[name].default:
                text = f"{name} has no effect, since the task {task.name} has a loss and a measure of its own"
                raise InputError(f"{text}: leave it out", setting=name)

    def _require_bounds(self) -> None:
        limits = {"phi_diagonal": (self.phi_diagonal, self.phi_start), "phi_off_diagonal": (self.phi_off_diagonal, 0.0)}
        for name, (bounds, initial) in limits.items():
            if bounds is None:
                continue
            if not isinstance(FORMS.make(self.form), Matrix):
                raise InputError(f"{name} bounds a matrix, but the form is {self.form}: leave it out", setting=name)
            if not bounds[0] <= initial <= bounds[1]:
                raise InputError(
                    f"the bounds {name} = {bounds[0]:g},{bounds[1]:g} leave out {initial:g}, where Φ starts: "
                    "give LOW,HIGH around it",
                    setting=name,
                )

    @property
    def chosen_task(self) -> Task:
        """What students are trained for."""
        return TASKS.make(self.task)

    @property
    def chosen_teacher(self) -> Chosen:
        """The kind of teacher and its options: those given, else the paper's."""
        paper = {"keys": PAPER_KEYS} if self.teacher.startswith("attention") else {}
        return _chosen(TEACHERS, self.teacher, paper, keys=self.keys, key_scale=self.key_scale)

    @property
    def chosen_measure(self) -> Chosen:
        """The measure and its options; that of a task without forms is its own."""
        if not self.chosen_task.has_forms:
            return Chosen(self.task, {})
        return _chosen(MEASURES, self.measure, {}, sharpness=self.sharpness)

    @property
    def signature(self) -> Part:
        """What of these settings changes the teacher, but for the number of steps and the estimator's part."""
        without = () if self.chosen_task.has_forms else _OF_FORMS
        others = part_of(self, without=(*_WITHOUT_EFFECT, *_OF_THE_ESTIMATOR, *_CHOSEN, *without))
        teacher, measure = self.chosen_teacher, self.chosen_measure
        return {
            "teacher": teacher.name,
            "teacher_options": teacher.options or None,
            "measure": measure.name,
            "measure_options": measure.options or None,
            **others,
            **self.chosen_task.signature,
        }

    def bounds(self, classes: int) -> tuple[Tensor, Tensor] | None:
        """Return the least and the greatest Φ, (coefficients,) each; None if Φ has no bounds."""
        if self.phi_diagonal is None and self.phi_off_diagonal is None:
            return bounds_of(self.chosen_task, FORMS.make(self.form), classes)
        infinite = (float("-inf"), float("inf"))
        low, high = (
            torch.full((classes, classes), (self.phi_off_diagonal or infinite)[side]).fill_diagonal_(
                (self.phi_diagonal or infinite)[side]
            )
            for side in (0, 1)
        )
        return low.flatten(), high.flatten()


@dataclass(frozen=True)
class CheckSettings:
    """How `check` looks at what `teach` would do; each field is an option, its help the field's description.

    Raises:
        InputError: the setting is out of range.
    """

    check_updates: int | None = _option(
        None,
        f"updates of each of the check's trainings, the run's first; 0 makes all (default: {CHECK_UPDATES}, or all if "
        "there are fewer)",
    )

    def __post_init__(self) -> None:
        require_at_least(0, check_updates=self.check_updates or 0)

    def of(self, updates: int) -> int:
        """Return how many updates of a run are made.

        Raises:
            InputError: the run has fewer than are wanted.
        """
        wanted = min(CHECK_UPDATES, updates) if self.check_updates is None else self.check_updates or updates
        if wanted > updates:
            raise InputError(
                f"check_updates is {wanted:,}, but the run has {updates:,} updates: give fewer, or 0 for all",
                setting="check_updates",
            )
        return wanted


def _chosen(registry: Registry[Any], spec: str, defaults: Mapping[str, float], **beside: float | None) -> Chosen:
    """Return what a spec names, with the options that were given beside it.

    Args:
        defaults: of options, in place of the registry's.

    Raises:
        InputError: there is no such thing, it has no such option, or an option is given twice.
    """
    name, options = registry.parse(spec)
    given = {option: value for option, value in beside.items() if value is not None}
    registry.require_options(name, given)
    for option in sorted(set(options) & set(given)):
        raise InputError(
            f"{option} is given twice, as {given[option]:g} and within the {registry.sort} {spec}: leave one out",
            setting=option,
        )
    return Chosen(name, {**registry.options(name), **defaults, **options, **given})
