"""The teacher as a fairseq model, so that `fairseq-train` can train it."""

from dataclasses import dataclass, field

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.models import BaseFairseqModel, register_model
from torch import Tensor

from fairseq_dlf.core.teaching.teachers import AttentionTeacher, Teacher
from fairseq_dlf.translation.bleu.progress import FEATURES
from fairseq_dlf.translation.hooks.launch import show_command_line


@dataclass
class DlfTeacherConfig(FairseqDataclass):
    teacher_keys: int = field(
        default=5, metadata={"help": "N, keys of the teacher's attention (paper, section 5.2: 5)"}
    )


@register_model("dlf_teacher", dataclass=DlfTeacherConfig)
class DlfTeacherModel(BaseFairseqModel):
    """Φ = W softmax(V s) with Φ = 1 for every s at the start; one coefficient per target type."""

    def __init__(self, teacher: Teacher):
        super().__init__()
        self.teacher = teacher

    @classmethod
    def build_model(cls, cfg, task):
        if cfg.teacher_keys < 1:
            raise ValueError(f"--teacher-keys is {cfg.teacher_keys}, but the teacher needs at least 1 key")
        initial = torch.ones(len(task.target_dictionary))
        return cls(AttentionTeacher.untaught(initial, features=len(FEATURES), keys=cfg.teacher_keys))

    def forward(self, progress: Tensor) -> Tensor:
        """Coefficients for progress vectors: (..., features) → (..., types)."""
        return self.teacher.along(progress)

    def max_positions(self):
        """None: a teacher sees no sentences."""
        return


show_command_line("dlf_teacher")
