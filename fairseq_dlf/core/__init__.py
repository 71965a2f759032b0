"""The method in plain PyTorch: knows neither fairseq nor a command line.

The public names are here: `from fairseq_dlf.core import Student, SGD, run_episode`. Each is
imported when it is first asked for, so that a tool which needs `support` alone loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fairseq_dlf.core.hypergradient.curvature import CentralDifference as CentralDifference
    from fairseq_dlf.core.hypergradient.curvature import Curvature as Curvature
    from fairseq_dlf.core.hypergradient.curvature import Exact as Exact
    from fairseq_dlf.core.hypergradient.curvature import ForwardDifference as ForwardDifference
    from fairseq_dlf.core.hypergradient.episode import EpisodePlan as EpisodePlan
    from fairseq_dlf.core.hypergradient.episode import EpisodeResult as EpisodeResult
    from fairseq_dlf.core.hypergradient.episode import Measure as Measure
    from fairseq_dlf.core.hypergradient.episode import MeasuredCotangent as MeasuredCotangent
    from fairseq_dlf.core.hypergradient.episode import run_episode as run_episode
    from fairseq_dlf.core.hypergradient.function_measure import FunctionMeasure as FunctionMeasure
    from fairseq_dlf.core.hypergradient.probe import require_second_derivatives as require_second_derivatives
    from fairseq_dlf.core.hypergradient.probe import twice_differentiable as twice_differentiable
    from fairseq_dlf.core.hypergradient.reverse import Hypergradient as Hypergradient
    from fairseq_dlf.core.hypergradient.reverse import reverse as reverse
    from fairseq_dlf.core.hypergradient.schedules import Binomial as Binomial
    from fairseq_dlf.core.hypergradient.schedules import Checkpoints as Checkpoints
    from fairseq_dlf.core.hypergradient.schedules import Everything as Everything
    from fairseq_dlf.core.hypergradient.schedules import Schedule as Schedule
    from fairseq_dlf.core.hypergradient.storage import OnDevice as OnDevice
    from fairseq_dlf.core.hypergradient.storage import OnDisk as OnDisk
    from fairseq_dlf.core.hypergradient.storage import OnHost as OnHost
    from fairseq_dlf.core.hypergradient.storage import Storage as Storage
    from fairseq_dlf.core.hypergradient.student import Point as Point
    from fairseq_dlf.core.hypergradient.student import Student as Student
    from fairseq_dlf.core.hypergradient.trajectory import TrajectoryPlan as TrajectoryPlan
    from fairseq_dlf.core.hypergradient.unroll import Step as Step
    from fairseq_dlf.core.hypergradient.unroll import Unroll as Unroll
    from fairseq_dlf.core.hypergradient.unroll import Watch as Watch
    from fairseq_dlf.core.hypergradient.unroll import unroll as unroll
    from fairseq_dlf.core.hypergradient.update_rules import SGD as SGD
    from fairseq_dlf.core.hypergradient.update_rules import Adam as Adam
    from fairseq_dlf.core.hypergradient.update_rules import StudentState as StudentState
    from fairseq_dlf.core.hypergradient.update_rules import UpdateRule as UpdateRule
    from fairseq_dlf.core.support.errors import InputError as InputError
    from fairseq_dlf.core.support.errors import UserError as UserError
    from fairseq_dlf.core.support.signature import Signature as Signature
    from fairseq_dlf.core.teaching.estimators import ESTIMATORS as ESTIMATORS
    from fairseq_dlf.core.teaching.estimators import Estimate as Estimate
    from fairseq_dlf.core.teaching.estimators import Estimator as Estimator
    from fairseq_dlf.core.teaching.estimators import ForwardDifferences as ForwardDifferences
    from fairseq_dlf.core.teaching.estimators import Reinforce as Reinforce
    from fairseq_dlf.core.teaching.estimators import Reverse as Reverse
    from fairseq_dlf.core.teaching.estimators import TwoUnrolls as TwoUnrolls
    from fairseq_dlf.core.teaching.estimators import estimate as estimate
    from fairseq_dlf.core.teaching.expectations import expected_accuracy as expected_accuracy
    from fairseq_dlf.core.teaching.expectations import expected_score as expected_score
    from fairseq_dlf.core.teaching.expectations import others_mean as others_mean
    from fairseq_dlf.core.teaching.forms import FORMS as FORMS
    from fairseq_dlf.core.teaching.forms import Bins as Bins
    from fairseq_dlf.core.teaching.forms import Diagonal as Diagonal
    from fairseq_dlf.core.teaching.forms import Form as Form
    from fairseq_dlf.core.teaching.forms import Matrix as Matrix
    from fairseq_dlf.core.teaching.forms import Smoothed as Smoothed
    from fairseq_dlf.core.teaching.forms import SparseSmoothed as SparseSmoothed
    from fairseq_dlf.core.teaching.forms import TypeFacts as TypeFacts
    from fairseq_dlf.core.teaching.guidance import Guidance as Guidance
    from fairseq_dlf.core.teaching.lesson import Course as Course
    from fairseq_dlf.core.teaching.lesson import Lesson as Lesson
    from fairseq_dlf.core.teaching.lesson import LessonStep as LessonStep
    from fairseq_dlf.core.teaching.log_probs import LogProbs as LogProbs
    from fairseq_dlf.core.teaching.log_probs import log_odds as log_odds
    from fairseq_dlf.core.teaching.log_probs import log_probs as log_probs
    from fairseq_dlf.core.teaching.loop.adaptation import Adaptation as Adaptation
    from fairseq_dlf.core.teaching.loop.adaptation import Child as Child
    from fairseq_dlf.core.teaching.loop.adaptation import Family as Family
    from fairseq_dlf.core.teaching.loop.online import OnlineAdaptation as OnlineAdaptation
    from fairseq_dlf.core.teaching.loop.steps import TeachingPlan as TeachingPlan
    from fairseq_dlf.core.teaching.loop.steps import Validation as Validation
    from fairseq_dlf.core.teaching.loop.teaching import School as School
    from fairseq_dlf.core.teaching.loop.teaching import Teaching as Teaching
    from fairseq_dlf.core.teaching.loss import DynamicLoss as DynamicLoss
    from fairseq_dlf.core.teaching.loss import Losses as Losses
    from fairseq_dlf.core.teaching.teacher_file import TeacherFile as TeacherFile
    from fairseq_dlf.core.teaching.teacher_file import TeacherHeader as TeacherHeader
    from fairseq_dlf.core.teaching.teacher_file import read_teacher as read_teacher
    from fairseq_dlf.core.teaching.teacher_file import write_teacher as write_teacher
    from fairseq_dlf.core.teaching.teachers import TEACHERS as TEACHERS
    from fairseq_dlf.core.teaching.teachers import AttentionTeacher as AttentionTeacher
    from fairseq_dlf.core.teaching.teachers import CoefficientController as CoefficientController
    from fairseq_dlf.core.teaching.teachers import ControllerTeacher as ControllerTeacher
    from fairseq_dlf.core.teaching.teachers import LSTMTeacher as LSTMTeacher
    from fairseq_dlf.core.teaching.teachers import Memory as Memory
    from fairseq_dlf.core.teaching.teachers import ScheduleTeacher as ScheduleTeacher
    from fairseq_dlf.core.teaching.teachers import StaticTeacher as StaticTeacher
    from fairseq_dlf.core.teaching.teachers import SteppingTeacher as SteppingTeacher
    from fairseq_dlf.core.teaching.teachers import StochasticTeacher as StochasticTeacher
    from fairseq_dlf.core.teaching.teachers import Teacher as Teacher
    from fairseq_dlf.core.teaching.teachers import untaught_teacher as untaught_teacher
    from fairseq_dlf.core.teaching.window import Window as Window

# Where each public name lives.
_MODULES = {
    "hypergradient.curvature": ("CentralDifference", "Curvature", "Exact", "ForwardDifference"),
    "hypergradient.episode": ("EpisodePlan", "EpisodeResult", "Measure", "MeasuredCotangent", "run_episode"),
    "hypergradient.function_measure": ("FunctionMeasure",),
    "hypergradient.probe": ("require_second_derivatives", "twice_differentiable"),
    "hypergradient.reverse": ("Hypergradient", "reverse"),
    "hypergradient.schedules": ("Binomial", "Checkpoints", "Everything", "Schedule"),
    "hypergradient.storage": ("OnDevice", "OnDisk", "OnHost", "Storage"),
    "hypergradient.student": ("Point", "Student"),
    "hypergradient.trajectory": ("TrajectoryPlan",),
    "hypergradient.unroll": ("Step", "Unroll", "Watch", "unroll"),
    "hypergradient.update_rules": ("SGD", "Adam", "StudentState", "UpdateRule"),
    "support.errors": ("InputError", "UserError"),
    "support.signature": ("Signature",),
    "teaching.estimators": (
        "ESTIMATORS",
        "Estimate",
        "Estimator",
        "ForwardDifferences",
        "Reinforce",
        "Reverse",
        "TwoUnrolls",
        "estimate",
    ),
    "teaching.expectations": ("expected_accuracy", "expected_score", "others_mean"),
    "teaching.forms": ("FORMS", "Bins", "Diagonal", "Form", "Matrix", "Smoothed", "SparseSmoothed", "TypeFacts"),
    "teaching.guidance": ("Guidance",),
    "teaching.lesson": ("Course", "Lesson", "LessonStep"),
    "teaching.log_probs": ("LogProbs", "log_odds", "log_probs"),
    "teaching.loss": ("DynamicLoss", "Losses"),
    "teaching.teacher_file": ("TeacherFile", "TeacherHeader", "read_teacher", "write_teacher"),
    "teaching.window": ("Window",),
    "teaching.teachers": (
        "TEACHERS",
        "AttentionTeacher",
        "CoefficientController",
        "ControllerTeacher",
        "LSTMTeacher",
        "Memory",
        "ScheduleTeacher",
        "StaticTeacher",
        "SteppingTeacher",
        "StochasticTeacher",
        "Teacher",
        "untaught_teacher",
    ),
    "teaching.loop.adaptation": ("Adaptation", "Child", "Family"),
    "teaching.loop.online": ("OnlineAdaptation",),
    "teaching.loop.steps": ("TeachingPlan", "Validation"),
    "teaching.loop.teaching": ("School", "Teaching"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}
__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
