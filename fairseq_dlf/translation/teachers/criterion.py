"""The criterion `dlf_teaching`, which turns an episode into a loss of the teacher."""

import logging
from collections.abc import Mapping
from typing import Any, Optional, cast

import torch
from fairseq import utils
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics
from fairseq.tasks import FairseqTask
from torch import Tensor, nn

from fairseq_dlf.core.hypergradient.unroll import unroll
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.teaching.estimators import Estimate
from fairseq_dlf.core.teaching.guidance import Guidance
from fairseq_dlf.core.teaching.teachers import Teacher
from fairseq_dlf.translation.bleu.decoding import unwrapped
from fairseq_dlf.translation.bleu.progress import FEATURES
from fairseq_dlf.translation.episodes.lesson import TranslationLesson
from fairseq_dlf.translation.episodes.lessons import Lessons
from fairseq_dlf.translation.episodes.options import OPTIONS
from fairseq_dlf.translation.episodes.watch import EpisodeWatch
from fairseq_dlf.translation.hooks.naming import naming_options
from fairseq_dlf.translation.teachers.turns import Ending, Turn

logger = logging.getLogger(__name__)

# Logged figures with their digits: means over all episodes, and over those that did not collapse.
OF_EPISODES = {
    "expected_bleu_before": 2,
    "expected_bleu": 2,
    "student_loss": 4,
    "horizon": 0,
    "forward_s": 1,
    "reverse_s": 1,
    "bleu": 2,
    "collapsed": 2,
}
OF_HYPERGRADIENTS = {"loss": 6, "dphi_norm": 6, "leverage": 3, "domega_growth": 3}
# Names of an estimate's figures in the log, and the factors by which they are multiplied.
LOGGED = {
    "measure_before": ("expected_bleu_before", 100),
    "measure_after": ("expected_bleu", 100),
    "leverage": ("leverage", 100),
    "cotangent_growth": ("domega_growth", 1),
}
# Appears in the log of norms instead.
UNLOGGED = ("cotangent_norm",)
# Digits of the figures of other estimators.
DIGITS = 6


@register_criterion("dlf_teaching", dataclass=FairseqDataclass)
class DlfTeachingCriterion(FairseqCriterion):
    """An estimator's loss, whose gradient is −∂M̃/∂θ (paper, Algorithm 1).

    Training: one episode, and one batched forward pass of the teacher over all s_t.
    Validation: the loss is 1 − expected BLEU of the student of a fixed episode.

    Args:
        lessons: gives the episodes.

    Attributes:
        ending: of the last turn, for the task.
    """

    def __init__(self, task: FairseqTask, lessons: Lessons):
        super().__init__(task)
        self.lessons = lessons
        self.ending: Optional[Ending] = None

    @classmethod
    def build_criterion(cls, cfg: FairseqDataclass, task: FairseqTask) -> "DlfTeachingCriterion":
        if not hasattr(task, "lessons"):
            raise InputError(
                f"--criterion dlf_teaching trains a teacher, but the task is a {type(task).__name__}: pass "
                "--task dlf_teaching, or --criterion dlf to train a student"
            )
        return cls(task, task.lessons)

    @naming_options(OPTIONS)
    def forward(self, model: nn.Module, sample: Any, reduce: bool = True) -> tuple[Tensor, int, dict[str, Any]]:
        """Return (loss, sample size, logging output), like fairseq's criterions.

        Args:
            model: the teacher, perhaps in fairseq's wrappers.
            sample: a `Turn` in training; not read in validation.
        """
        if self.training and model.training:
            loss, figures, sample_size = self._teach(model, sample)
        else:
            loss, figures = self._validate(model)
            sample_size = 1
        logging_output = {
            "loss": loss.detach(),
            "sample_size": sample_size,
            "nsentences": 1,
            "ntokens": 1,
            **{f"_{name}": value for name, value in figures.items()},
        }
        return loss, sample_size, logging_output

    def _teach(self, model: nn.Module, turn: Turn) -> tuple[Tensor, dict[str, float], int]:
        lesson = self.lessons.lesson(turn.update, turn.turn, _device_of(model), turn.continued)
        guidance = _guidance(lesson, model)
        self.lessons.check(lesson, guidance)
        plan = self.lessons.plan
        watch = EpisodeWatch(plan.steps, plan.first, self.lessons.cfg.log_cotangent_every)
        estimate = self.lessons.estimator(lesson, guidance, model, watch=watch)
        if estimate.collapse is None:
            watch.finish(estimate.figures.get("cotangent_norm"))
        self.ending = Ending(estimate.collapse, estimate.student)
        # A collapsed episode has weight 0, so that the mean is over the good episodes of an update.
        return estimate.loss, _logged(estimate, plan.steps - plan.first), int(estimate.collapse is None)

    def _validate(self, model: nn.Module) -> tuple[Tensor, dict[str, float]]:
        device = _device_of(model)
        lesson = self.lessons.validation(device)
        guidance = _guidance(lesson, model)
        watch = EpisodeWatch(lesson.updates, self.lessons.plan.first, 0)
        run = (lesson.student, lesson.rule, guidance.source, lesson.start, lesson.updates)
        params = unroll(*run, watch=watch, observe=guidance.observe).final.params
        value, greedy = lesson.measure.value(params), self.lessons.greedy(lesson.student, params)
        logger.info(f"greedy dev BLEU of the taught student {greedy.score:.2f} {greedy.signature}")
        return torch.tensor(1.0 - value, device=device), {"expected_bleu": 100 * value, "bleu": greedy.score}

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[Mapping[str, Any]]) -> None:
        """Log the means over the episodes of an update, on all workers."""

        def total(key: str) -> Any:
            return utils.item(sum(log.get(key, 0) for log in logging_outputs))

        names = {key[1:] for log in logging_outputs for key in log if key.startswith("_")} | {"loss"}
        others = {name: DIGITS for name in sorted(names - set(OF_EPISODES) - set(OF_HYPERGRADIENTS))}
        good = {**OF_HYPERGRADIENTS, **others}
        for figures, count in ((OF_EPISODES, total("nsentences")), (good, total("sample_size"))):
            for name, digits in figures.items():
                if count and name in names:
                    key = name if name == "loss" else f"_{name}"
                    metrics.log_scalar(name, total(key) / count, count, round=digits)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """Return True: every entry is a number that can be summed over workers."""
        return True


def _device_of(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def _guidance(lesson: TranslationLesson, model: nn.Module) -> Guidance:
    return Guidance(lesson, cast(Teacher, unwrapped(model).teacher), len(FEATURES))


def _logged(estimate: Estimate, horizon: int) -> dict[str, float]:
    """Return the figures of an estimate under their names in the log."""
    figures = {"horizon": float(horizon), "collapsed": float(estimate.collapse is not None)}
    for name, value in estimate.figures.items():
        if name in UNLOGGED:
            continue
        logged, factor = LOGGED.get(name, (name, 1))
        figures[logged] = factor * value
    return figures
