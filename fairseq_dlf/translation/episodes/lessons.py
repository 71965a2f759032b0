"""The lessons of `dlf_teaching`: which students, which batches, which seeds, which measure."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, Optional

import torch
from fairseq.data import FairseqDataset
from fairseq.tasks import FairseqTask
from torch import Tensor

from fairseq_dlf.core.hypergradient.graph import graph_bytes
from fairseq_dlf.core.hypergradient.probe import twice_differentiable
from fairseq_dlf.core.hypergradient.student import Point, Student
from fairseq_dlf.core.hypergradient.trajectory import record_bytes
from fairseq_dlf.core.support.allocation import keep_freed_memory
from fairseq_dlf.core.support.byte_sizes import human_size
from fairseq_dlf.core.support.seeds import mixed_seed
from fairseq_dlf.core.support.signature import Part, described
from fairseq_dlf.core.support.workers import Workers
from fairseq_dlf.core.teaching.estimators import Estimator, takes_products
from fairseq_dlf.core.teaching.forms import FORMS
from fairseq_dlf.core.teaching.guidance import Guidance
from fairseq_dlf.core.teaching.loss import DynamicLoss
from fairseq_dlf.translation.bleu.decoding import batches_of, fixed_sample, greedy_bleu, module_at, on_device
from fairseq_dlf.translation.bleu.expected import MEASURE_SENTENCES, expected_bleu_settings
from fairseq_dlf.translation.bleu.progress import StudentProgress
from fairseq_dlf.translation.bleu.scores import CorpusBleu
from fairseq_dlf.translation.bleu.type_facts import type_facts
from fairseq_dlf.translation.episodes.batches import BatchLimits, StudentBatches
from fairseq_dlf.translation.episodes.config import DlfTeachingConfig
from fairseq_dlf.translation.episodes.guard import Guard, easy_point
from fairseq_dlf.translation.episodes.lesson import TranslationLesson
from fairseq_dlf.translation.episodes.member import Member
from fairseq_dlf.translation.episodes.options import (
    curvature,
    episode_plan,
    estimator_of,
    student_context,
    update_rule,
    with_graphs,
)
from fairseq_dlf.translation.episodes.past import with_past
from fairseq_dlf.translation.episodes.rates import student_rates
from fairseq_dlf.translation.episodes.starts import origins
from fairseq_dlf.translation.hooks.launch import refuse_ignored
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
        MissingFileError, InputError: a student's checkpoint or an option is wrong.

    Attributes:
        loss: of the student.
        members: the students, of whom each lesson teaches one.
        plan: horizon, curvature and trajectory of episodes; how many graphs they keep is known with the first lesson.
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
        named = origins(cfg.student or "", str(cfg.student_start))
        self.members = [Member(task, cfg, origin, self.loss, workers.combine) for origin in named]
        coefficients = self.loss.size(len(task.target_dictionary))
        way = curvature(cfg)
        # The largest student decides how many of its states fit, so that those of the others do.
        largest = max(sum(member.student.sizes) for member in self.members)
        self._record_bytes = record_bytes(self._rule, largest, coefficients, way.reuses_gradients)
        self.plan = episode_plan(cfg, way, self._record_bytes)
        self.estimator: Estimator = estimator_of(cfg, self.plan)
        # Made without sentences, so that wrong options fail before the data is read.
        self.figure = self._measure_of(cfg.measure, self.members[0].student, (), 0).figure
        self._rates(cfg.student_steps)
        products = takes_products(self.estimator)
        refuse_ignored(cfg, "keep_graphs", not products, f"--estimator {cfg.estimator} takes no products")
        self._guards = [Guard(cfg, self.plan.curvature, products) for _ in self.members]
        self._prepared: set[int] = set()
        self._graph_bytes = 0
        self._batches: Optional[StudentBatches] = None
        self._progress: Optional[StudentProgress] = None

    # Lessons ------------------------------------------------------------------------

    def lesson(
        self, update: int, turn: int, device: torch.device, continued: Optional[Tensor] = None, member: int = 0
    ) -> TranslationLesson:
        """Return this worker's `turn`-th lesson of an update of the teacher, on the device.

        Args:
            continued: the student at the end of its last lesson, (parameters,), from which to continue.
            member: number of the student.
        """
        # The 0 keeps the seeds, and so the results, of versions that had one worker only.
        seed = mixed_seed(self.cfg.seed, 0, update, self._workers.episode(turn))
        return self._lesson(member, seed, device, continued)

    def validation(self, device: torch.device, member: int = 0) -> TranslationLesson:
        """Return a member's lesson on which teachers are compared, the same for every teacher."""
        # Seeds apart: new weights of one architecture would be the same student.
        return self._lesson(member, VALIDATION_SEED + member, device, None)

    def check(self, lesson: TranslationLesson, guidance: Guidance, member: int = 0) -> None:
        """Compare second-order products of a member with exact ones, where that is due; as `Guard.watch`."""
        self._guards[member].watch(lesson, guidance)

    def along(self, guidance: Guidance) -> dict[str, float]:
        """Return what Φ was along a lesson that was observed, by name.

        Returns:
            `phi_first` and `phi_last`, the means over Φ in the first and the last step; `phi_moved`, the root mean
            square of the differences between these steps; for each regulariser the mean of its weight.
        """
        with torch.no_grad():
            coefficients = guidance.teacher.along(guidance.progress)
        phi, _ = self.loss.split(coefficients[[0, -1]])
        figures = {"phi_first": float(phi[0].mean()), "phi_last": float(phi[1].mean())}
        figures["phi_moved"] = float((phi[1] - phi[0]).square().mean().sqrt())
        return figures | self.loss.weights(coefficients.mean(dim=0))

    def greedy(self, student: Student, params: Tensor) -> CorpusBleu:
        """Return greedy BLEU on dev of a student at ω."""
        pairs = self.dev
        indices = fixed_sample(pairs, self.cfg.greedy_sentences, self.cfg.seed)
        return greedy_bleu(self._task, module_at(student, params), pairs, indices)

    def measure_on(
        self, spec: str, indices: Sequence[int], device: torch.device, seed: int, member: int = 0
    ) -> TranslationMeasure:
        """Return a measure of a member on some sentences of dev, with the settings of this run.

        Args:
            spec: as for `MEASURES.make`.
            indices: of the sentences.
            seed: of their candidates.
            member: number of the student.
        """
        own = self._workers.part(list(batches_of(self.dev, indices, device, MEASURE_SENTENCES)))
        return self._measure_of(spec, self.members[member].student, own, mixed_seed(seed, MEASURE_SALT))

    def signature_of(self, measure: str) -> Part:
        """Return all that changes a measure of these lessons, but for the sentences.

        Args:
            measure: as for `MEASURES.make`.
        """
        return measure_signature(measure, self._settings)

    @property
    def dev(self) -> FairseqDataset:
        """The sentence pairs that students are measured on."""
        return self._pairs(self.cfg.valid_subset.split(",")[0])

    @property
    def kept(self) -> str:
        """What of an episode's past is kept, where, and how large its states are."""
        told = self.plan.trajectory.describe(self.plan.first, self.plan.steps, self._record_bytes)
        return f"{told} ({self.cfg.trajectory_storage})"

    @property
    def signature(self) -> Part:
        """Everything that changes what lessons teach, except the options that the task signs itself."""
        starts = [member.starts.signature for member in self.members]
        return {
            **self.estimator.signature,
            **{name: [each[name] for each in starts] for name in starts[0]},
            "rule": described(self._rule),
            **self.loss.signature,
            **self._limits.signature,
            "measure": self.signature_of(self.cfg.measure),
            "pairs": len(self._pairs(self.cfg.train_subset)),
        }

    def _lesson(self, number: int, seed: int, device: torch.device, continued: Optional[Tensor]) -> TranslationLesson:
        member, batches, progress = self._ready(number, device)
        start, steps = member.starts.of(seed, device, continued), self.plan.steps
        helper = (self._workers.rank,) if self._workers.shared and self._workers.rank else ()
        return TranslationLesson(
            member.student,
            self._rule,
            self._rule.initial(start.params),
            steps,
            self.cfg.progress_interval or steps,
            self._measure(number, seed, device),
            member.seen(start, progress),
            batches,
            batches.order(steps, mixed_seed(seed, BATCH_SALT)),
            self._rates(len(batches)),
            [mixed_seed(seed, DROPOUT_SALT, t, *helper) for t in range(steps)],
            self.loss.reads_past,
        )

    def _measure(self, number: int, seed: int, device: torch.device) -> TranslationMeasure:
        indices = fixed_sample(self.dev, self.cfg.measure_sentences, mixed_seed(seed, MEASURE_SALT))
        return self.measure_on(self.cfg.measure, indices, device, seed, number)

    def _measure_of(
        self, spec: str, student: Student, batches: Sequence[dict[str, Any]], seed: int
    ) -> TranslationMeasure:
        # In full precision, whatever the student's, since differences in BLEU are small.
        plain = student.within(twice_differentiable)
        return MEASURES.make(spec, dev=DevSample(self._task, plain, batches, seed, self._settings))

    # Before the first lesson ----------------------------------------------------------

    def _ready(self, number: int, device: torch.device) -> tuple[Member, StudentBatches, StudentProgress]:
        """Return a member that can be taught, and what all members share; prepares what is not ready yet."""
        train, task, cfg = self._pairs(self.cfg.train_subset), self._task, self.cfg
        if not self._prepared and device.type == "cpu":
            keep_freed_memory()
        first, new = not self._prepared, number not in self._prepared
        if new:
            self._prepare(number, train, device)
        if self._progress is None or self._batches is None:
            self._progress = StudentProgress(task, train, self.dev, cfg.progress_sentences, cfg.seed)
            self._batches = StudentBatches(train, self._limits, task.max_positions(), self._workers, cfg.seed)
        if new:
            self._keep_graphs(self.members[number].student, self._batches, device)
        if first:
            logger.info(self.kept)
        return self.members[number], self._batches, self._progress

    def _prepare(self, number: int, train: FairseqDataset, device: torch.device) -> None:
        """Move a student to the device, and try it."""
        member = self.members[number]
        member.student.module.to(device)
        member.student = member.student.within(student_context(self.cfg, device, takes_products(self.estimator)))
        start = self.loss.start(len(self._task.target_dictionary)).to(device)
        point = easy_point(member.student, train, start, self.loss.reads_past)
        self._guards[number].probe(member.student, point)
        self._require_effect(member.student, point)
        self._prepared.add(number)

    def _require_effect(self, student: Student, point: Point) -> None:
        """Raise StateError for a regulariser that has nothing to work with at a point."""
        if self.loss.regularisers:
            found = student.gradients(point, of_coefficients=True).coefficients
            assert found is not None
            # The loss is linear in the weights, so that its slopes are the R themselves.
            self.loss.require_effect(self.loss.split(found)[1].tolist())

    def _keep_graphs(self, student: Student, batches: StudentBatches, device: torch.device) -> None:
        """Let episodes keep graphs, if the options ask for it; as few as the largest student so far allows."""
        if not self.cfg.keep_graphs:
            return

        def measured() -> int:
            self._graph_bytes = max(self._graph_bytes, self._measured_graph(student, batches, device))
            return self._graph_bytes

        self.plan = with_graphs(self.cfg, self.plan, self._record_bytes, measured)
        self.estimator = estimator_of(self.cfg, self.plan)

    def _measured_graph(self, student: Student, batches: StudentBatches, device: torch.device) -> int:
        """Return the size of the graph of a step with the largest batch: those of other steps fit in its place."""
        params, start = student.flat_params(), self.loss.start(len(self._task.target_dictionary)).to(device)
        found = 0
        for number in batches.largest():
            batch = on_device(batches[number], device)
            if self.loss.reads_past:
                batch = with_past(student, params, batch)
            found = max(found, graph_bytes(student, Point(params, start, batch, 0), self._rule.reads_gradient))
        logger.info(f"the graph of a step with the largest batch takes {human_size(found)}")
        return found

    def _rates(self, epoch_steps: int) -> list[float]:
        cfg = self.cfg
        schedule = (cfg.student_lr_scheduler, cfg.student_lr_options, cfg.student_lr)
        return student_rates(*schedule, cfg.student_steps, epoch_steps)
