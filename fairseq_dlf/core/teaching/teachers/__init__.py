"""Teachers, one file each; importing this package registers them all."""

from fairseq_dlf.core.teaching.teachers.attention import AttentionTeacher
from fairseq_dlf.core.teaching.teachers.coefficient_controller import CoefficientController
from fairseq_dlf.core.teaching.teachers.controller import ControllerTeacher
from fairseq_dlf.core.teaching.teachers.lstm import LSTMTeacher
from fairseq_dlf.core.teaching.teachers.schedule import ScheduleTeacher
from fairseq_dlf.core.teaching.teachers.static import StaticTeacher
from fairseq_dlf.core.teaching.teachers.stepping import SteppingTeacher
from fairseq_dlf.core.teaching.teachers.stochastic import StochasticTeacher
from fairseq_dlf.core.teaching.teachers.teacher import TEACHERS, Memory, Teacher, untaught_teacher

__all__ = [
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
]
