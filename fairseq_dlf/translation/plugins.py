"""The fairseq plug-ins: importing this module registers them all."""

from fairseq_dlf.translation.hooks import quiet as _quiet  # noqa: F401  First, since fairseq's imports print.
from fairseq_dlf.translation.hooks.parsing import watch_parsing
from fairseq_dlf.translation.hooks.run_start import watch_start
from fairseq_dlf.translation.hooks.safe_globals import allow_checkpoint_globals
from fairseq_dlf.translation.hooks.saving import save_whole_files
from fairseq_dlf.translation.students import adam as _adam  # noqa: F401
from fairseq_dlf.translation.students import archs as _archs  # noqa: F401
from fairseq_dlf.translation.students import schedules as _schedules  # noqa: F401
from fairseq_dlf.translation.students import task as _student_task  # noqa: F401
from fairseq_dlf.translation.students.losses import actor_critic as _actor_critic  # noqa: F401
from fairseq_dlf.translation.students.losses import adaptive as _adaptive  # noqa: F401
from fairseq_dlf.translation.students.losses import dynamic as _dynamic  # noqa: F401
from fairseq_dlf.translation.students.losses import r_drop as _r_drop  # noqa: F401
from fairseq_dlf.translation.students.losses import reinforce as _reinforce  # noqa: F401
from fairseq_dlf.translation.students.losses import risk as _risk  # noqa: F401
from fairseq_dlf.translation.students.losses import scheduled_smoothing as _scheduled_smoothing  # noqa: F401
from fairseq_dlf.translation.students.losses import self_distillation as _self_distillation  # noqa: F401
from fairseq_dlf.translation.students.losses import softmax_margin as _softmax_margin  # noqa: F401
from fairseq_dlf.translation.students.losses import sparse_smoothing as _sparse_smoothing  # noqa: F401
from fairseq_dlf.translation.teachers import criterion as _teacher_criterion  # noqa: F401
from fairseq_dlf.translation.teachers import member_adam as _member_adam  # noqa: F401
from fairseq_dlf.translation.teachers import model as _teacher_model  # noqa: F401
from fairseq_dlf.translation.teachers import rprop as _rprop  # noqa: F401
from fairseq_dlf.translation.teachers import task as _teacher_task  # noqa: F401

allow_checkpoint_globals()
save_whole_files()
watch_parsing()
watch_start()
