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
from fairseq_dlf.translation.regularisers import WEIGHT
from fairseq_dlf.translation.teachers.turns import Ending, Turn

logger = logging.getLogger(__name__)

# Logged figures are means over all episodes, or over those that did not collapse; their keys say which.
EACH, GOOD = "_each:", "_good:"
OF_EPISODES = ("student_loss", "horizon", "forward_s", "reverse_s", "bleu", "collapsed")
# Digits of figures, by default those of measures and of an estimator's figures.
DIGITS = {"student_loss": 4, "horizon": 0, "forward_s": 1, "reverse_s": 1, "domega_growth": 3}
MEASURE_DIGITS, LEVERAGE_DIGITS, COEFFICIENT_DIGITS, OTHER_DIGITS = 2, 3, 4, 6
# Appears in the log of norms instead.
UNLOGGED = ("cotangent_norm",)


@register_criterion("dlf_teaching", dataclass=FairseqDataclass)
class DlfTeachingCriterion(FairseqCriterion):
    """An estimator's loss, whose gradient is −∂M̃/∂θ (paper, Algorithm 1).

    Training: one episode, and one batched forward pass of the teacher over all s_t.
    Validation: the loss is 1 − the measure of the student of a fixed episode.

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
            sample: a `Turn`, of which validation reads the member only.
        """
        if self.training and model.training:
            loss, figures, sample_size = self._teach(model, sample)
        else:
            loss, figures = self._validate(model, sample)
            sample_size = 1
        logging_output = {
            "loss": loss.detach(),
            "sample_size": sample_size,
            "nsentences": 1,
            "ntokens": 1,
            **figures,
        }
        return loss, sample_size, logging_output

    def _teach(self, model: nn.Module, turn: Turn) -> tuple[Tensor, dict[str, float], int]:
        lesson = self.lessons.lesson(turn.update, turn.turn, _device_of(model), turn.continued, turn.member)
        guidance = _guidance(lesson, model)
        self.lessons.check(lesson, guidance, turn.member)
        plan = self.lessons.plan
        watch = EpisodeWatch(plan.steps, plan.first, self.lessons.cfg.log_cotangent_every)
        estimate = self.lessons.estimator(lesson, guidance, model, watch=watch)
        if estimate.collapse is None:
            watch.finish(estimate.figures.get("cotangent_norm"))
        self.ending = Ending(estimate.collapse, estimate.student.final.params)
        # A collapsed episode has weight 0, so that the mean is over the good episodes of an update.
        measure = self.lessons.figure
        figures = _logged(estimate, measure, plan.steps - plan.first) | self._along(guidance)
        figures |= self._by_member(turn.member, {measure: figures[EACH + measure]})
        return estimate.loss, figures, int(estimate.collapse is None)

    def _validate(self, model: nn.Module, turn: Turn) -> tuple[Tensor, dict[str, float]]:
        device = _device_of(model)
        lesson = self.lessons.validation(device, turn.member)
        guidance = _guidance(lesson, model)
        watch = EpisodeWatch(lesson.updates, self.lessons.plan.first, 0)
        run = (lesson.student, lesson.rule, guidance.source, lesson.start, lesson.updates)
        params = unroll(*run, watch=watch, observe=guidance.observe).final.params
        value, greedy = lesson.measure.value(params), self.lessons.greedy(lesson.student, params)
        logger.info(f"greedy dev BLEU of the taught student {greedy.score:.2f} {greedy.signature}")
        found = {self.lessons.figure: 100 * value, "bleu": greedy.score}
        figures = {EACH + name: figure for name, figure in found.items()} | self._by_member(turn.member, found)
        return torch.tensor(1.0 - value, device=device), figures | self._along(guidance)

    def _along(self, guidance: Guidance) -> dict[str, float]:
        """Return the figures of Φ and of the regularisers' weights along the lesson."""
        return {EACH + name: figure for name, figure in self.lessons.along(guidance).items()}

    def _by_member(self, taught: int, figures: Mapping[str, float]) -> dict[str, float]:
        """Return the figures of an episode under the number of its member; nothing if there is one only.

        The mean over the episodes of all members, which teach each equally often, is that of a member's own. Every
        episode has all names, since fairseq sums over workers only what the first one has.
        """
        members = len(self.lessons.members)
        if members == 1:
            return {}
        others = {f"{EACH}{name}_{member + 1}": 0.0 for name in figures for member in range(members)}
        return {**others, **{f"{EACH}{name}_{taught + 1}": members * value for name, value in figures.items()}}

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[Mapping[str, Any]]) -> None:
        """Log the means over the episodes of an update, on all workers."""

        def total(key: str) -> Any:
            return utils.item(sum(log.get(key, 0) for log in logging_outputs))

        counts = {EACH: total("nsentences"), GOOD: total("sample_size")}
        if counts[GOOD]:
            metrics.log_scalar("loss", total("loss") / counts[GOOD], counts[GOOD], round=OTHER_DIGITS)
        for key in dict.fromkeys(key for log in logging_outputs for key in log):
            for sort, count in counts.items():
                if key.startswith(sort) and count:
                    name = key.removeprefix(sort)
                    metrics.log_scalar(name, total(key) / count, count, round=_digits(name, sort))

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """Return True: every entry is a number that can be summed over workers."""
        return True


def _device_of(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def _guidance(lesson: TranslationLesson, model: nn.Module) -> Guidance:
    return Guidance(lesson, cast(Teacher, unwrapped(model).teacher), len(FEATURES))


def _logged(estimate: Estimate, measure: str, horizon: int) -> dict[str, float]:
    """Return the figures of an estimate under their names in the log.

    Args:
        measure: its name in the log, where what is in its units has its name and appears times 100.
    """
    renamed = {
        "measure_before": (EACH, f"{measure}_before", 100),
        "measure_after": (EACH, measure, 100),
        "leverage": (GOOD, f"{measure}_leverage", 100),
        "cotangent_growth": (GOOD, "domega_growth", 1),
    }
    figures = {}
    for name, value in estimate.figures.items():
        if name not in UNLOGGED:
            sort, logged, factor = renamed.get(name, (EACH if name in OF_EPISODES else GOOD, name, 1))
            figures[sort + logged] = factor * value
    collapsed = float(estimate.collapse is not None)
    return {**figures, f"{EACH}horizon": float(horizon), f"{EACH}collapsed": collapsed}


def _digits(name: str, sort: str) -> int:
    if name.endswith("_leverage"):
        return LEVERAGE_DIGITS
    if name.startswith((WEIGHT, "phi_")):
        return COEFFICIENT_DIGITS
    return DIGITS.get(name, MEASURE_DIGITS if sort == EACH else OTHER_DIGITS)
