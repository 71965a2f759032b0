"""The lessons of `dlf_teaching`: which student, which batches, which seeds, which measure."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, Optional

import torch
from fairseq.data import FairseqDataset
from fairseq.tasks import FairseqTask
from torch import Tensor

from fairseq_dlf.core.hypergradient.probe import twice_differentiable
from fairseq_dlf.core.hypergradient.student import Point, Student
from fairseq_dlf.core.hypergradient.trajectory import record_bytes
from fairseq_dlf.core.support.allocation import keep_freed_memory
from fairseq_dlf.core.support.seeds import mixed_seed
from fairseq_dlf.core.support.signature import Part, described
from fairseq_dlf.core.support.workers import Workers
from fairseq_dlf.core.teaching.estimators import Estimator, takes_products
from fairseq_dlf.core.teaching.forms import FORMS
from fairseq_dlf.core.teaching.guidance import Guidance
from fairseq_dlf.core.teaching.loss import DynamicLoss
from fairseq_dlf.translation.bleu.decoding import batches_of, fixed_sample, greedy_bleu, module_at
from fairseq_dlf.translation.bleu.expected import MEASURE_SENTENCES, expected_bleu_settings
from fairseq_dlf.translation.bleu.progress import StudentProgress
from fairseq_dlf.translation.bleu.scores import CorpusBleu
from fairseq_dlf.translation.bleu.type_facts import type_facts
from fairseq_dlf.translation.episodes.batches import BatchLimits, StudentBatches, micro_batches
from fairseq_dlf.translation.episodes.checkpoints import StudentCheckpoint, student_of
from fairseq_dlf.translation.episodes.config import DlfTeachingConfig
from fairseq_dlf.translation.episodes.guard import Guard, easy_point
from fairseq_dlf.translation.episodes.lesson import TranslationLesson
from fairseq_dlf.translation.episodes.options import (
    curvature,
    episode_plan,
    estimator_of,
    student_context,
    update_rule,
)
from fairseq_dlf.translation.episodes.rates import student_rates
from fairseq_dlf.translation.episodes.starts import Start, Starts
from fairseq_dlf.translation.measures import MEASURES, DevSample, TranslationMeasure, measure_signature
from fairseq_dlf.translation.regularisers import REGULARISERS, RegularisedLoss

logger = logging.getLogger(__name__)

# Salts keep an episode's sources of randomness apart.
BATCH_SALT, DROPOUT_SALT, MEASURE_SALT = 1, 2, 3
VALIDATION_SEED = 0


class Lessons:
    """The lessons of a run of `dlf_teaching`, with everything that changes what they teach.

    Args:
        task: provides dictionaries, generators and the limits on the length of sentences.
        cfg: the task's options.
        workers: the processes that train together.
        limits: of the student's batches.
        pairs: returns the sentence pairs of a split by its name; called when they are first needed.

    Raises:
        MissingFileError, InputError: the student's checkpoint or an option is wrong.

    Attributes:
        loss: of the student.
        plan: horizon, curvature and trajectory of episodes.
        estimator: estimates the gradient of θ from a lesson.
        figure: name of the measure in the log.
    """

    def __init__(
        self,
        task: FairseqTask,
        cfg: DlfTeachingConfig,
        workers: Workers,
        limits: BatchLimits,
        pairs: Callable[[str], FairseqDataset],
    ):
        self.cfg = cfg
        self._task = task
        self._workers = workers
        self._limits = limits
        self._pairs = pairs
        self._settings = expected_bleu_settings(cfg)
        form = FORMS.make(cfg.form).fitted(type_facts(task.target_dictionary))
        dynamic = DynamicLoss(form, task.target_dictionary.pad(), cfg.ce_share, cfg.label_smoothing)
        self.loss = RegularisedLoss(dynamic, REGULARISERS.make_each(cfg.regularisers))
        self._rule = update_rule(cfg)
        checkpoint = StudentCheckpoint(cfg.student or "", task)
        self._student = student_of(checkpoint, dynamic, cfg.student_dropout, workers.combine, self.loss.regularisers)
        if cfg.micro_batches > 1:
            split = micro_batches(cfg.micro_batches, task.target_dictionary.pad(), cfg.left_pad_source)
            self._student = self._student.in_parts(split)
        self._starts = Starts(checkpoint, self._student, str(cfg.student_start))
        coefficients = self.loss.size(len(task.target_dictionary))
        way = curvature(cfg)
        self._record_bytes = record_bytes(self._rule, sum(self._student.sizes), coefficients, way.reuses_gradients)
        self.plan = episode_plan(cfg, way, self._record_bytes)
        self.estimator: Estimator = estimator_of(cfg, self.plan)
        # Made without sentences, so that wrong options fail before the data is read.
        self.figure = self._measure_of((), 0).figure
        self._rates(cfg.student_steps)
        self._guard = Guard(cfg, self.plan.curvature, takes_products(self.estimator))
        self._batches: Optional[StudentBatches] = None
        self._progress: Optional[StudentProgress] = None
        self._warm_bleu: Optional[Tensor] = None

    # Lessons ------------------------------------------------------------------------

    def lesson(
        self, update: int, turn: int, device: torch.device, continued: Optional[Tensor] = None
    ) -> TranslationLesson:
        """Return this worker's `turn`-th lesson of an update of the teacher, on the device.

        Args:
            continued: the student at the end of the last lesson, (parameters,), from which to continue.
        """
        # The 0 keeps the seeds, and so the results, of versions that had one worker only.
        return self._lesson(mixed_seed(self.cfg.seed, 0, update, self._workers.episode(turn)), device, continued)

    def validation(self, device: torch.device) -> TranslationLesson:
        """Return the lesson on which teachers are compared, the same for every teacher."""
        return self._lesson(VALIDATION_SEED, device, None)

    def check(self, lesson: TranslationLesson, guidance: Guidance) -> None:
        """Compare second-order products with exact ones, where that is due; as `Guard.watch`."""
        self._guard.watch(lesson, guidance)

    def weights(self, guidance: Guidance) -> dict[str, float]:
        """Return the mean weight of each regulariser along a lesson that was observed, by name."""
        if not self.loss.regularisers:
            return {}
        with torch.no_grad():
            return self.loss.weights(guidance.teacher.along(guidance.progress).mean(dim=0))

    def greedy(self, student: Student, params: Tensor) -> CorpusBleu:
        """Return greedy BLEU on dev of a student at ω."""
        pairs = self._dev()
        indices = fixed_sample(pairs, self.cfg.greedy_sentences, self.cfg.seed)
        return greedy_bleu(self._task, module_at(student, params), pairs, indices)

    @property
    def kept(self) -> str:
        """What of an episode's past is kept, where, and how large it is."""
        told = self.plan.trajectory.describe(self.plan.first, self.plan.steps, self._record_bytes)
        return f"{told} ({self.cfg.trajectory_storage})"

    @property
    def signature(self) -> Part:
        """Everything that changes what lessons teach, except the options that the task signs itself."""
        return {
            **self.estimator.signature,
            **self._starts.signature,
            "rule": described(self._rule),
            **self.loss.signature,
            **self._limits.signature,
            "measure": measure_signature(self.cfg.measure, self._settings),
            "pairs": len(self._pairs(self.cfg.train_subset)),
        }

    def _lesson(self, seed: int, device: torch.device, continued: Optional[Tensor]) -> TranslationLesson:
        if self._batches is None:
            self._batches = self._prepare(device)
        start, steps = self._starts.of(seed, device, continued), self.plan.steps
        helper = (self._workers.rank,) if self._workers.shared and self._workers.rank else ()
        return TranslationLesson(
            self._student,
            self._rule,
            self._rule.initial(start.params),
            steps,
            self.cfg.progress_interval or steps,
            self._measure(seed, device),
            self._seen(start),
            self._batches,
            self._batches.order(steps, mixed_seed(seed, BATCH_SALT)),
            self._rates(len(self._batches)),
            [mixed_seed(seed, DROPOUT_SALT, t, *helper) for t in range(steps)],
            self.loss.reads_past,
        )

    def _seen(self, start: Start) -> Callable[[int, Tensor], Tensor]:
        """Return the function by which a lesson observes its student; the warm student is decoded only once."""

        def seen(t: int, params: Tensor) -> Tensor:
            known = self._warm_bleu if start.warm and t == 0 else None
            if known is None:
                assert self._progress is not None
                known = self._progress.measure(self._student, params)
            if start.warm and t == 0:
                self._warm_bleu = known
            return known

        return seen

    def _measure(self, seed: int, device: torch.device) -> TranslationMeasure:
        pairs, seed = self._dev(), mixed_seed(seed, MEASURE_SALT)
        indices = fixed_sample(pairs, self.cfg.measure_sentences, seed)
        own = self._workers.part(list(batches_of(pairs, indices, device, MEASURE_SENTENCES)))
        return self._measure_of(own, seed)

    def _measure_of(self, batches: Sequence[dict[str, Any]], seed: int) -> TranslationMeasure:
        # In full precision, whatever the student's, since differences in BLEU are small.
        plain = self._student.within(twice_differentiable)
        return MEASURES.make(self.cfg.measure, dev=DevSample(self._task, plain, batches, seed, self._settings))

    # Before the first lesson ----------------------------------------------------------

    def _prepare(self, device: torch.device) -> StudentBatches:
        """Move the student to the device, try it, and make its batches."""
        if device.type == "cpu":
            keep_freed_memory()
        self._student.module.to(device)
        self._student = self._student.within(student_context(self.cfg, device, takes_products(self.estimator)))
        logger.info(self.kept)
        train, task, cfg = self._pairs(self.cfg.train_subset), self._task, self.cfg
        neutral = self.loss.start(len(task.target_dictionary)).to(device)
        point = easy_point(self._student, train, neutral, self.loss.reads_past)
        self._guard.probe(self._student, point)
        self._require_effect(point)
        self._progress = StudentProgress(task, train, self._dev(), cfg.progress_sentences, cfg.seed)
        return StudentBatches(train, self._limits, task.max_positions(), self._workers, cfg.seed)

    def _require_effect(self, point: Point) -> None:
        """Raise StateError for a regulariser that has nothing to work with at a point."""
        if self.loss.regularisers:
            found = self._student.gradients(point, of_coefficients=True).coefficients
            assert found is not None
            # The loss is linear in the weights, so that its slopes are the R themselves.
            self.loss.require_effect(self.loss.split(found)[1].tolist())

    def _rates(self, epoch_steps: int) -> list[float]:
        cfg = self.cfg
        schedule = (cfg.student_lr_scheduler, cfg.student_lr_options, cfg.student_lr)
        return student_rates(*schedule, cfg.student_steps, epoch_steps)

    def _dev(self) -> FairseqDataset:
        return self._pairs(self.cfg.valid_subset.split(",")[0])
