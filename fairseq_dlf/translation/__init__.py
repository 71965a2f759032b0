"""The fairseq plug-ins: importing this package registers them all."""

from fairseq_dlf.translation import (  # noqa: F401
    archs,
    criterion,
    teacher_model,
    teaching_criterion,
    teaching_task,
    translation_task,
)
from fairseq_dlf.translation.compat import allow_checkpoint_globals

allow_checkpoint_globals()
