"""The criterion `dlf_adaptive`: a dynamic loss that a controller adapts while the student trains (ALA)."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, List, Optional

import torch
from fairseq.criterions import register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.tasks import FairseqTask
from omegaconf import II
from torch import nn

from fairseq_dlf.core.hypergradient.episode import EpisodePlan
from fairseq_dlf.core.support.checks import require_at_least
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.support.seeds import mixed_seed
from fairseq_dlf.core.support.signature import Signature
from fairseq_dlf.core.support.workers import Workers
from fairseq_dlf.core.teaching.estimators import ESTIMATORS, Reinforce
from fairseq_dlf.core.teaching.forms import FORMS, Form
from fairseq_dlf.core.teaching.loop.online import OnlineAdaptation
from fairseq_dlf.core.teaching.loss import DynamicLoss
from fairseq_dlf.core.teaching.teacher_file import TeacherFile, TeacherHeader, read_teacher, write_teacher
from fairseq_dlf.core.teaching.teachers import TEACHERS, StochasticTeacher, untaught_teacher
from fairseq_dlf.translation.bleu.decoding import unwrapped
from fairseq_dlf.translation.bleu.type_facts import type_facts
from fairseq_dlf.translation.hooks.launch import NOTHING_TO_SMOOTH, refuse_ignored
from fairseq_dlf.translation.hooks.naming import naming_options
from fairseq_dlf.translation.hooks.task_state import keep, kept
from fairseq_dlf.translation.students.dev_sample import DevSample, SampledStudent
from fairseq_dlf.translation.students.losses.criterion import StudentCriterion, TrainingLoss
from fairseq_dlf.translation.students.plan import RunPlan, require_length

logger = logging.getLogger(__name__)

STATE = "adaptive"
CONTROLLER = "coefficient_controller"
# Sets the seed of a controller before its first action apart from other seeds of a run.
_SALT = 0xADA
# Options by setting, for the messages of errors.
OPTIONS = {
    "ce_share": "--ce-share",
    "controller_from": "--controller-from",
    "controller_lr": "--controller-lr",
    "dev_bleu_sentences": "--dev-bleu-sentences",
    "estimator": "--estimator",
    "form": "--form",
    "label_smoothing": "--label-smoothing",
    "teacher": "--controller",
    "valid_subset": "--valid-subset",
    "window": "--window",
}


@dataclass
class AdaptiveConfig(FairseqDataclass):
    form: str = field(
        default="bins",
        metadata={"help": f"form of Φ: {', '.join(name for name in FORMS if FORMS[name].tallied)}"},
    )
    window: int = field(default=200, metadata={"help": "K: updates between two actions of the controller (ALA: 200)"})
    dev_bleu_sentences: int = field(
        default=200,
        metadata={"help": "dev sentences for the statistics that the controller reads, and for BLEU; 0 uses all"},
    )
    controller: Optional[str] = field(
        default=None,
        metadata={"help": f"kind of controller, with its options; by default {CONTROLLER}(beta=0.1,reach=1)"},
    )
    controller_from: Optional[str] = field(
        default=None, metadata={"help": "controller that the run starts with: a file of --controller-to"}
    )
    controller_to: Optional[str] = field(
        default=None, metadata={"help": "file that the controller is written to whenever it has learned (.safetensors)"}
    )
    controller_lr: float = field(
        default=0.001,
        metadata={"help": "Adam's learning rate of the controller (ALA: 0.001); with 0 it guides without learning"},
    )
    estimator: str = field(
        default="reinforce(points=1)",
        metadata={"help": "reinforce with its options; points: places in a window where BLEU is measured"},
    )
    ce_share: float = field(default=0.0, metadata={"help": "share of plain cross-entropy in the loss, from 0 below 1"})
    label_smoothing: float = field(default=0.0, metadata={"help": "label smoothing within the share of cross-entropy"})
    sentence_avg: bool = II("optimization.sentence_avg")
    max_update: int = II("optimization.max_update")
    max_epoch: int = II("optimization.max_epoch")
    update_freq: List[int] = II("optimization.update_freq")
    train_subset: str = II("dataset.train_subset")
    valid_subset: str = II("dataset.valid_subset")
    seed: int = II("common.seed")


@register_criterion("dlf_adaptive", dataclass=AdaptiveConfig)
class AdaptiveCriterion(StudentCriterion):
    """The dynamic loss, summed over target tokens, whose Φ a controller moves before every K-th update.

    The controller learns from the change of greedy dev BLEU by REINFORCE. It and all that it remembers are in the
    student's checkpoints, apart from the student, so that a resume goes on bit for bit, and decoding needs none of it.
    Each worker has the same one, and measures the same sentences.

    Raises:
        InputError, MissingFileError: an option or a file is wrong.

    Cost: `points` greedy decodings of the dev sentences and a forward pass over them once in K updates.
    Source: Huang et al. 2019, in the single-network version; statistics and forms of translation are ours.
    """

    figures = ("phi_mean", "phi_sd", "dev_bleu", "reward", "baseline", "entropy")

    def __init__(self, cfg: Any, task: FairseqTask):
        super().__init__(cfg, task)
        with naming_options(OPTIONS):
            require_at_least(1, window=cfg.window)
            require_at_least(0, controller_lr=cfg.controller_lr, dev_bleu_sentences=cfg.dev_bleu_sentences)
            form = _tallied(cfg.form).fitted(type_facts(task.target_dictionary))
            self.loss = DynamicLoss(form, self.padding_idx, cfg.ce_share, cfg.label_smoothing)
            self._estimator = _reinforce(cfg)
            _require_controller(cfg.controller or CONTROLLER)
        require_length(cfg, needed_by="the controller")
        self._plan = RunPlan(cfg, task)
        # Neither is a module: the student's optimiser must not train the controller.
        self._sample: Optional[DevSample] = None
        self._adaptation: Optional[OnlineAdaptation] = None
        # What the signature calls the controller that the run begins with.
        self._origin = cfg.controller or CONTROLLER

    def require_effect(self) -> None:
        cfg = self.cfg
        refuse_ignored(cfg, "label_smoothing", cfg.ce_share == 0, NOTHING_TO_SMOOTH)
        refuse_ignored(cfg, "ce_share", cfg.ce_share == 1, "nothing of the loss is left for the controller: lower it")
        from_file = bool(cfg.controller_from)
        refuse_ignored(cfg, "controller", from_file, "the file names the controller: leave --controller-from out")
        if cfg.controller_lr == 0 and not from_file:
            raise InputError(
                "--controller-lr is 0, with which an untaught controller does nothing: raise it, or pass "
                "--controller-from FILE"
            )

    def train(self, mode: bool = True) -> "AdaptiveCriterion":
        """Read the controller and the dev sentences when training begins, which only this call means."""
        super().train(mode)
        if mode and self._adaptation is None:
            cfg = self.cfg
            with naming_options(OPTIONS):
                self._sample = DevSample(self.task, cfg.valid_subset, cfg.dev_bleu_sentences, cfg.seed)
                self._adaptation = OnlineAdaptation(
                    self._controller(), self._estimator, cfg.window, cfg.controller_lr, cfg.seed
                )
            logger.info(f"adapting: {self._signature}")
        return self

    def training_loss(self, model: nn.Module, sample: dict[str, Any]) -> TrainingLoss:
        assert self._adaptation is not None and self._sample is not None
        adaptation = self._adaptation
        state = kept(self.task, STATE)
        if state is not None and not adaptation.started:
            adaptation.restore(state)
        student = SampledStudent(self._sample, self.loss.form, unwrapped(model))
        if adaptation.advance(self.update, self._plan.share_done(self.update), student):
            keep(self.task, STATE, adaptation.state())
            if adaptation.begun == self.update:
                self._report(adaptation)
        logits, phi, found = model(**sample["net_input"])[0], adaptation.coefficients, adaptation.figures
        losses = self.loss(logits, sample["target"], phi.to(logits.device))
        figures = {"phi_mean": float(phi.mean()), "phi_sd": float(phi.std(unbiased=False))}
        figures |= {"dev_bleu": 100 * found.reached, "reward": found.reward}
        return TrainingLoss(*losses, {**figures, "baseline": found.baseline, "entropy": found.entropy})

    def _controller(self) -> StochasticTeacher:
        """Return the controller that the run begins with."""
        cfg, form, types = self.cfg, self.loss.form, len(self.task.target_dictionary)
        if cfg.controller_from:
            read = _read_controller(cfg.controller_from, form, types)
            self._origin = f"{read.header.kind} {read.digest}"
            assert isinstance(read.teacher, StochasticTeacher)
            return read.teacher
        kind, options = TEACHERS.parse(cfg.controller or CONTROLLER)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(mixed_seed(cfg.seed, _SALT))
            teacher = untaught_teacher(kind, form.neutral(types), 1 + form.size(types), options)
        low, high = (torch.full((form.size(types),), bound) for bound in form.bounds(types))
        teacher.bound(low, high)
        assert isinstance(teacher, StochasticTeacher)
        return teacher

    @property
    def _signature(self) -> Signature:
        cfg = self.cfg
        options = {
            "controller": self._origin,
            "window": cfg.window,
            "controller_lr": cfg.controller_lr,
            "dev_bleu_sentences": cfg.dev_bleu_sentences,
            "seed": cfg.seed,
        }
        found = Signature.of("dlf-adaptive", self.loss.signature, self._estimator.signature, options)
        return found.without("steps", "collapse_share")  # of lessons, which there are none of

    def _report(self, adaptation: OnlineAdaptation) -> None:
        """Log a window that begins, and write the controller's file."""
        found, teacher = adaptation.figures, adaptation.teacher
        phi = " ".join(f"{value:.4g}" for value in adaptation.coefficients.tolist())
        logger.info(
            f"window from update {adaptation.begun:,}: dev BLEU {100 * found.reached:.2f}, reward {found.reward:+g}, "
            f"baseline {found.baseline:.3f}, entropy {found.entropy:.4f}, Φ {phi}"
        )
        if self.cfg.controller_to and Workers.of_this_run(shared=True).rank == 0:
            names = ("updates", *(f"tally_{number}" for number in range(len(adaptation.coefficients))))
            signature = Signature.of(self._signature.program, self._signature.fields, {"update": adaptation.begun})
            header = TeacherHeader(teacher.kind, self.loss.form.spec, names, str(signature))
            write_teacher(Path(self.cfg.controller_to), teacher, header)


def _tallied(spec: str) -> Form:
    """Return the form of a text, which must say what a controller reads."""
    form = FORMS.make(spec)
    if not form.tallied:
        known = ", ".join(name for name in FORMS if FORMS[name].tallied)
        raise InputError(
            f"the form {spec} has no dev statistic for each of its coefficients, which a controller reads: wanted one "
            f"of {known}",
            setting="form",
        )
    return form


def _reinforce(cfg: Any) -> Reinforce:
    name = ESTIMATORS.parse(cfg.estimator)[0]
    if not (isinstance(ESTIMATORS[name], type) and issubclass(ESTIMATORS[name], Reinforce)):
        raise InputError(
            f"the estimator is {name}, which repeats or goes back through a run, but this student is trained once: "
            "take reinforce",
            setting="estimator",
        )
    made = ESTIMATORS.make(cfg.estimator, plan=EpisodePlan(cfg.window))
    assert isinstance(made, Reinforce)
    return made


def _require_controller(spec: str) -> None:
    kind = TEACHERS.parse(spec)[0]
    entry = TEACHERS[kind]
    if not issubclass(entry, StochasticTeacher) or entry.statistics != "tallies":
        raise InputError(
            f"the controller is {kind}, which does not move coefficients by what it reads of each: take {CONTROLLER}",
            setting="teacher",
        )


def _read_controller(path: str, form: Form, types: int) -> TeacherFile:
    """Return the controller of a file.

    Raises:
        MissingFileError, InputError: there is no such file, or it is of another form or kind.
    """
    read = read_teacher(Path(path), "diagonal", "pass a file that --controller-to has written")
    _require_controller(read.header.kind)
    if read.header.form != form.spec or read.teacher.coefficients != form.size(types):
        raise InputError(
            f"the controller {path} moves {read.teacher.coefficients:,} coefficients of the form {read.header.form}, "
            f"but the form {form.spec} has {form.size(types):,}: pass --form {read.header.form}",
            setting="controller_from",
        )
    return read
