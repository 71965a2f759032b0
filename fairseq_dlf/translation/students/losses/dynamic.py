"""The criterion `dlf`, which trains a student on the loss that a teacher chooses."""

import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, List, Optional

import torch
from fairseq.criterions import register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.tasks import FairseqTask
from omegaconf import II
from torch import Tensor, nn

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.teaching.forms import FORMS
from fairseq_dlf.core.teaching.loss import DynamicLoss
from fairseq_dlf.core.teaching.progress import progress_vector
from fairseq_dlf.core.teaching.teachers import SteppingTeacher
from fairseq_dlf.translation.bleu.decoding import unwrapped
from fairseq_dlf.translation.bleu.progress import FEATURES
from fairseq_dlf.translation.bleu.type_facts import type_facts
from fairseq_dlf.translation.hooks.launch import NOTHING_TO_SMOOTH, refuse_ignored
from fairseq_dlf.translation.hooks.naming import naming_options
from fairseq_dlf.translation.regularisers import REGULARISERS, Regularised, RegularisedLoss, Regularisers
from fairseq_dlf.translation.students.losses.criterion import StudentCriterion, TrainingLoss
from fairseq_dlf.translation.students.losses.self_distillation import PastSelf
from fairseq_dlf.translation.students.plan import RunPlan, require_length
from fairseq_dlf.translation.students.progress import PROGRESS_SENTENCES, RunProgress
from fairseq_dlf.translation.teachers.files import TeacherFile, read_teacher, regularisers_of

logger = logging.getLogger(__name__)

PLAIN_FORM = "diagonal"
# Options by setting, for the messages of errors.
OPTIONS = {
    "ce_share": "--ce-share",
    "form": "--form",
    "label_smoothing": "--label-smoothing",
    "regulariser": "--regularisers",
    "teacher": "--teacher",
}


@dataclass
class DlfCriterionConfig(FairseqDataclass):
    teacher: Optional[str] = field(
        default=None,
        metadata={"help": "teacher file: a checkpoint of dlf_teaching or its .safetensors export"},
    )
    form: Optional[str] = field(
        default=None,
        metadata={"help": f"form of Φ without --teacher: {', '.join(FORMS)}; by default {PLAIN_FORM}"},
    )
    regularisers: Optional[str] = field(
        default=None,
        metadata={
            "help": f"regularisers without --teacher: {', '.join(REGULARISERS)}; several with commas, each with its "
            "constant weight, as in r_drop(start=5),label_smoothing(start=0.1)"
        },
    )
    coefficients: Optional[float] = field(
        default=None,
        metadata={"help": "constant coefficients, without --teacher: the neutral ones times this; by default 1"},
    )
    ce_share: float = field(
        default=0.0, metadata={"help": "share of plain cross-entropy in the loss, from 0 (the paper's loss) to 1"}
    )
    label_smoothing: float = field(default=0.0, metadata={"help": "label smoothing within the share of cross-entropy"})
    progress_interval: int = field(
        default=0,
        metadata={"help": "updates between two measurements of the student's BLEU; 0 measures once an epoch"},
    )
    progress_sentences: Optional[int] = field(
        default=None,
        metadata={
            "help": "number of sentences of train, and of dev, on which BLEU is measured for the teacher; 0 uses "
            f"all; by default {PROGRESS_SENTENCES}"
        },
    )
    sentence_avg: bool = II("optimization.sentence_avg")
    max_update: int = II("optimization.max_update")
    max_epoch: int = II("optimization.max_epoch")
    update_freq: List[int] = II("optimization.update_freq")
    train_subset: str = II("dataset.train_subset")
    valid_subset: str = II("dataset.valid_subset")
    seed: int = II("common.seed")


@register_criterion("dlf", dataclass=DlfCriterionConfig)
class DlfCriterion(StudentCriterion):
    """The dynamic loss, summed over target tokens, with the teacher's Φ for the student's progress.

    Regularisers, which the teacher's file names, stand beside it with the teacher's weights. The past self that one
    may read is the student as it was when the epoch began; checkpoints hold it.

    Raises:
        InputError, MissingFileError: an option or the teacher's file is wrong.
        StateError: the first batch shows that a regulariser has nothing to work with.
    """

    figures = ("phi_mean", "phi_sd", *(f"s_{name}" for name in FEATURES))

    def __init__(self, cfg: DlfCriterionConfig, task: FairseqTask):
        super().__init__(cfg, task)
        _require_ranges(cfg)
        with naming_options(OPTIONS):
            regularisers = REGULARISERS.make_each(cfg.regularisers or "")
            self.loss = self._loss_of(cfg.form or PLAIN_FORM, regularisers)
        self.progress = RunProgress(cfg, task)
        self._past = PastSelf(task, from_start=True)
        self._plan = RunPlan(cfg, task)
        self._effect_seen = False
        # The dataclass keeps the teacher from being a submodule: the student's optimiser must
        # not train it, and the student's checkpoint must not hold it.
        self._teacher_file: Optional[TeacherFile] = None

    def train(self, mode: bool = True) -> "DlfCriterion":
        """Read the teacher when training begins.

        It is not read earlier, because fairseq builds the criterion also to validate and to decode, with the
        options of the student's training, when the teacher's file may be gone; only this call means training.

        Raises:
            MissingFileError, InputError: the teacher cannot be used.
        """
        super().train(mode)
        if mode and self.cfg.teacher is not None and self._teacher_file is None:
            with naming_options(OPTIONS):
                self._read_teacher(self.cfg.teacher)
        return self

    def require_effect(self) -> None:
        cfg, taught = self.cfg, self.cfg.teacher is not None
        refuse_ignored(cfg, "coefficients", taught, "the teacher chooses the coefficients: leave --teacher out")
        refuse_ignored(cfg, "form", taught, "the teacher's file names the form: leave --teacher out")
        refuse_ignored(cfg, "regularisers", taught, "the teacher's file names them: leave --teacher out")
        for name in ("progress_sentences", "progress_interval"):
            refuse_ignored(cfg, name, not taught, "no teacher looks at the progress: pass --teacher")
        refuse_ignored(cfg, "label_smoothing", cfg.ce_share == 0, NOTHING_TO_SMOOTH)

    def _read_teacher(self, path: str) -> None:
        read = read_teacher(path, self.task.target_dictionary)
        # One that steps remembers between lessons only, and gives one Φ for the whole of this run.
        if read.teacher.start() and not isinstance(read.teacher, SteppingTeacher):
            raise InputError(
                f"teacher {path} is of the kind {read.header.kind}, which remembers earlier steps: criterion dlf "
                "keeps no memory from update to update; pass a teacher without one",
                setting="teacher",
            )
        self._teacher_file = read
        self.loss = self._loss_of(read.header.form, regularisers_of(read))
        logger.info(f"teacher {path}: {read.header.signature}")

    def _loss_of(self, form: str, regularisers: Regularisers) -> RegularisedLoss:
        fitted = FORMS.make(form).fitted(type_facts(self.task.target_dictionary))
        dynamic = DynamicLoss(fitted, self.padding_idx, self.cfg.ce_share, self.cfg.label_smoothing)
        return RegularisedLoss(dynamic, regularisers)

    @classmethod
    def logged(cls) -> Iterable[str]:
        return [*cls.figures, *(figure for name in REGULARISERS for figure in (f"w_{name}", name))]

    def training_loss(self, model: nn.Module, sample: dict[str, Any]) -> TrainingLoss:
        net_input, past_probs = sample["net_input"], None
        if self.loss.reads_past:
            past_probs = self._past.probs(unwrapped(model), self._plan.epoch, net_input)
        logits = self.loss.logits(model, net_input)
        coefficients, figures = self._present_coefficients(model, logits)
        found = self.loss(logits, sample["target"], coefficients, past_probs)
        return TrainingLoss(found.loss, found.nll_nats, figures | self._penalties(found, sample["ntokens"]))

    def _penalties(self, found: Regularised, tokens: int) -> dict[str, float]:
        """Return R per token of each regulariser for the log; refuse one that does nothing in the first batch."""
        per_token = [float(penalty) / tokens for penalty in found.penalties]
        if not self._effect_seen:
            self.loss.require_effect(per_token)
            self._effect_seen = True
        return {each.name: value for each, value in zip(self.loss.regularisers, per_token, strict=True)}

    def _present_coefficients(self, model: nn.Module, logits: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Return Φ and weights of the present update, (coefficients,), and their figures and those of s_t."""
        precision = torch.promote_types(logits.dtype, torch.float32)
        state: dict[str, float] = {}
        if self._teacher_file is None:
            constant = 1.0 if self.cfg.coefficients is None else self.cfg.coefficients
            found = self.loss.start(logits.size(-1), constant).to(logits.device, precision)
        else:
            teacher = self._teacher_file.teacher
            state = self.progress.now(unwrapped(model), self.update, decoded=teacher.reads_progress)._asdict()
            with torch.no_grad():
                found = teacher.along(progress_vector(FEATURES, state).unsqueeze(0))[0].to(logits.device, precision)
        phi, _ = self.loss.split(found)
        figures = {"phi_mean": float(phi.mean()), "phi_sd": float(phi.std(unbiased=False))}
        figures |= {f"s_{name}": value for name, value in state.items()}
        return found, figures | self.loss.weights(found)


def _require_ranges(cfg: DlfCriterionConfig) -> None:
    """Raise InputError for options out of range."""
    for name in ("progress_sentences", "progress_interval"):
        if (getattr(cfg, name) or 0) < 0:
            raise InputError(f"--{name.replace('_', '-')} {getattr(cfg, name)} must not be negative")
    if cfg.coefficients is not None and not math.isfinite(cfg.coefficients):
        raise InputError(f"--coefficients is {cfg.coefficients}, but must be finite")
    if cfg.teacher == "":
        raise InputError("the teacher's file has an empty name: pass --teacher FILE, or leave --teacher out")
    if cfg.teacher is not None:
        require_length(cfg, needed_by="the teacher")


@register_criterion("dlf_criterion", dataclass=DlfCriterionConfig)
class DlfCriterionLongName(DlfCriterion):
    """`--criterion dlf_criterion`, the long name of `dlf`."""
