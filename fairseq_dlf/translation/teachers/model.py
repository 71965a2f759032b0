"""The teacher as a fairseq model, so that `fairseq-train` can train it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from fairseq.dataclass import FairseqDataclass
from fairseq.models import BaseFairseqModel, register_model
from torch import Tensor

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.support.signature import Part
from fairseq_dlf.core.teaching.estimators import ESTIMATORS, require_match
from fairseq_dlf.core.teaching.forms import FORMS
from fairseq_dlf.core.teaching.teachers import TEACHERS, Teacher, untaught_teacher
from fairseq_dlf.core.teaching.teachers.attention import KEY_SCALE
from fairseq_dlf.translation.bleu.progress import FEATURES
from fairseq_dlf.translation.episodes.options import OPTIONS
from fairseq_dlf.translation.hooks.launch import show_command_line
from fairseq_dlf.translation.hooks.naming import naming_options
from fairseq_dlf.translation.regularisers import REGULARISERS, bounds_of, start_of

# N in the paper (section 5.2).
PAPER_KEYS = 5
# The options of keys, in words.
_KEY_WORDS = {"keys": "their number", "key_scale": "their scale"}


@dataclass
class DlfTeacherConfig(FairseqDataclass):
    teacher_kind: str = field(default="attention", metadata={"help": f"kind of teacher: {', '.join(TEACHERS)}"})
    teacher_keys: Optional[int] = field(
        default=None,
        metadata={"help": f"N, keys of the teacher attention (paper, section 5.2), by default {PAPER_KEYS}"},
    )
    teacher_key_scale: Optional[float] = field(
        default=None,
        metadata={
            "help": "standard deviation of V in the teacher attention before teaching, above 0: the larger, the more Φ "
            f"depends on s_t from the first updates on; by default {KEY_SCALE}"
        },
    )
    phi_start: float = field(
        default=1.0, metadata={"help": "coefficients before teaching, as a multiple of the neutral ones"}
    )


@register_model("dlf_teacher", dataclass=DlfTeacherConfig)
class DlfTeacherModel(BaseFairseqModel):
    """A teacher of the core, whose coefficients are neutral for every s at the start.

    Attributes:
        signature: kind and options of the teacher.
        bounds: the least and the greatest coefficients, (coefficients,) each; None if there are no bounds.
    """

    def __init__(self, teacher: Teacher, signature: Part, bounds: Optional[tuple[Tensor, Tensor]] = None):
        super().__init__()
        self.teacher = teacher
        self.signature = signature
        self.bounds = bounds

    @classmethod
    @naming_options(OPTIONS)
    def build_model(cls, cfg: DlfTeacherConfig, task: Any) -> "DlfTeacherModel":
        if not hasattr(getattr(task, "cfg", None), "form"):
            raise InputError(
                f"--arch dlf_teacher is a teacher, but the task is a {type(task).__name__}: pass --task dlf_teaching"
            )
        if not math.isfinite(cfg.phi_start):
            raise InputError(f"--phi-start is {cfg.phi_start}, but must be finite")
        regularisers = REGULARISERS.make_each(task.cfg.regularisers)
        types = len(task.target_dictionary)
        form = FORMS.make(task.cfg.form)
        low, high = bounds_of(form, regularisers, types)
        untaught = start_of(form, regularisers, types, cfg.phi_start)
        kind, within = TEACHERS.parse(cfg.teacher_kind)
        if TEACHERS[kind].statistics != "progress":
            raise InputError(
                f"the teacher {kind} reads the statistics {TEACHERS[kind].statistics!r}, but students of dlf_teaching "
                "have 'progress': take another teacher",
                setting="teacher_kind",
            )
        require_match(ESTIMATORS[ESTIMATORS.parse(task.cfg.estimator)[0]], TEACHERS[kind])
        options = _with_keys(cfg, kind, within)
        teacher = untaught_teacher(kind, untaught, len(FEATURES), options)
        start = {} if cfg.phi_start == 1.0 else {"phi_start": cfg.phi_start}
        bounded = bool((low.isfinite() | high.isfinite()).any())
        return cls(teacher, {"teacher": kind, **options, **start}, (low, high) if bounded else None)

    def forward(self, progress: Tensor) -> Tensor:
        """Return the coefficients of a whole run: (T, features) → (T, coefficients)."""
        return self.teacher.along(progress)

    def keep_bounds(self) -> None:
        """Move θ so that the coefficients are within their bounds for every s; those without bounds stay."""
        if self.bounds is not None:
            like = next(self.parameters())
            self.teacher.bound(*(bound.to(like) for bound in self.bounds))

    def max_positions(self) -> None:
        """Return None, since a teacher reads no sentences."""
        return


def _with_keys(cfg: DlfTeacherConfig, kind: str, within: Mapping[str, float]) -> dict[str, float]:
    """Return the options of a kind of teacher, with those that `--teacher-keys` and `--teacher-key-scale` give.

    Args:
        within: the options that `--teacher-kind` gives.

    Raises:
        InputError: an option that this kind does not have, that is given twice, or that is out of range.
    """
    known = TEACHERS.options(kind)
    beside = {"keys": cfg.teacher_keys, "key_scale": cfg.teacher_key_scale}
    for name, value in beside.items():
        if value is None:
            continue
        if name not in known:
            raise InputError(f"the teacher {kind} has no keys: leave {_KEY_WORDS[name]} out", setting=name)
        if name in within:
            text = f"{name} is {value:g} here, and {within[name]:g} in {cfg.teacher_kind}: give it once"
            raise InputError(text, setting=name)
    if cfg.teacher_key_scale is not None and not 0.0 < cfg.teacher_key_scale < math.inf:
        text = f"the keys' scale is {cfg.teacher_key_scale}, but must be positive and finite"
        raise InputError(f"{text}: with 0, no key ever differs from another", setting="key_scale")
    paper = {"keys": PAPER_KEYS} if "keys" in known else {}
    return {**paper, **{name: value for name, value in beside.items() if value is not None}, **within}


show_command_line("dlf_teacher")
