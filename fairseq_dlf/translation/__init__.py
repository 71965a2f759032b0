"""The fairseq plug-ins: importing this package registers them all."""

from fairseq_dlf.translation.hooks import install
from fairseq_dlf.translation.students import archs as _archs  # noqa: F401
from fairseq_dlf.translation.students import criterion as _student_criterion  # noqa: F401
from fairseq_dlf.translation.students import task as _student_task  # noqa: F401
from fairseq_dlf.translation.teachers import criterion as _teacher_criterion  # noqa: F401
from fairseq_dlf.translation.teachers import model as _teacher_model  # noqa: F401
from fairseq_dlf.translation.teachers import task as _teacher_task  # noqa: F401

install()
