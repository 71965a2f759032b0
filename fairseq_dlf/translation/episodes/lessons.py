"""Runs the episodes of `dlf_teaching`: which student, which batches, which seeds."""

import hashlib
import logging
from typing import Any, List, NamedTuple, Optional

import numpy as np
import torch
from fairseq.data import FairseqDataset, data_utils
from fairseq.tasks import FairseqTask
from torch import Tensor

from fairseq_dlf.core.hypergradient.episode import EpisodePlan, EpisodeResult, run_episode
from fairseq_dlf.core.hypergradient.guard import compare_with_exact, require_agreement
from fairseq_dlf.core.hypergradient.probe import require_second_derivatives, require_smooth, twice_differentiable
from fairseq_dlf.core.hypergradient.student import Point, Student
from fairseq_dlf.core.hypergradient.trajectory import record_bytes
from fairseq_dlf.core.hypergradient.unroll import Step, StepSource, unroll
from fairseq_dlf.core.hypergradient.update_rules import StudentState
from fairseq_dlf.core.support.allocation import keep_freed_memory
from fairseq_dlf.core.support.seeds import mixed_seed
from fairseq_dlf.core.support.workers import Workers
from fairseq_dlf.core.teaching.forms import Diagonal
from fairseq_dlf.core.teaching.loss import DynamicLoss
from fairseq_dlf.core.teaching.progress import progress_vector
from fairseq_dlf.translation.bleu.decoding import batches_of, fixed_sample, greedy_bleu, on_device
from fairseq_dlf.translation.bleu.expected import MEASURE_SENTENCES, ExpectedBleu, expected_bleu_settings
from fairseq_dlf.translation.bleu.progress import FEATURES, ProgressValues, sampled_bleu
from fairseq_dlf.translation.bleu.scores import CorpusBleu
from fairseq_dlf.translation.episodes.checkpoints import build_student
from fairseq_dlf.translation.episodes.config import DlfTeachingConfig
from fairseq_dlf.translation.episodes.options import (
    curvature,
    naming_options,
    student_context,
    takes_differences,
    trajectory_plan,
    update_rule,
)
from fairseq_dlf.translation.episodes.precision import require_precision
from fairseq_dlf.translation.episodes.rates import student_rates
from fairseq_dlf.translation.episodes.watch import EpisodeWatch

logger = logging.getLogger(__name__)

# Salts keep an episode's sources of randomness apart.
BATCH_SALT, DROPOUT_SALT, MEASURE_SALT = 1, 2, 3
VALIDATION_EPISODE = 0


class Lesson(NamedTuple):
    """An episode ready to run.

    Attributes:
        student: the student, on the teacher's device.
        start: its state before the first update.
        progress: s_t of every step, (T, features).
        source: gives step t, for the teacher's present coefficients.
    """

    student: Student
    start: StudentState
    progress: Tensor
    source: StepSource


class EpisodeReport(NamedTuple):
    """A teaching episode: s_t of every step, (T, features), and what the episode found."""

    progress: Tensor
    result: EpisodeResult


class ValidationReport(NamedTuple):
    """A student taught without a reverse pass: its expected (0 to 1) and greedy BLEU."""

    expected_bleu: float
    greedy: CorpusBleu


class EpisodeRunner:
    """Builds and runs episodes of one student.

    Args:
        task: gives dictionaries and data sets.
        cfg: the task's options.
        workers: the processes that train together.

    Raises:
        FileNotFoundError, ValueError: the student's checkpoint or an option is wrong.

    Attributes:
        batch_limits: fairseq's limits of a batch, for the student's batches; to be set.
        continued: the student that `--student-start continue` goes on with, (parameters,).
    """

    def __init__(self, task: FairseqTask, cfg: DlfTeachingConfig, workers: Workers):
        self.task = task
        self.cfg = cfg
        self.workers = workers
        self.settings = expected_bleu_settings(cfg)
        self.loss = DynamicLoss(Diagonal(), task.target_dictionary.pad(), cfg.ce_share, cfg.label_smoothing)
        self.rule = update_rule(cfg)
        self.student = build_student(cfg.student, task, self.loss, cfg.student_dropout, combine=workers.combine)
        # Of the weights alone: the file also holds its own path and times.
        weights = self.student.flat_params().numpy().tobytes()
        self.student_digest = hashlib.sha256(weights).hexdigest()[:8]
        self.plan = self._plan()
        self.batch_limits: Optional[dict[str, Any]] = None
        self.continued: Optional[Tensor] = None
        self._warm_params: Optional[Tensor] = None
        self._warm_progress: Optional[ProgressValues] = None
        self._batches: Optional[List[Any]] = None
        self._rates = self._student_rates(epoch_steps=cfg.student_steps)
        self._guarded = True
        self._episodes = 0

    def _plan(self) -> EpisodePlan:
        cfg, way = self.cfg, curvature(self.cfg)
        size = record_bytes(self.rule, sum(self.student.sizes), len(self.task.target_dictionary), way.reuses_gradients)
        self._record_bytes = size
        with naming_options():
            return EpisodePlan(
                cfg.student_steps,
                cfg.truncate,
                way,
                trajectory_plan(cfg, size),
                cfg.clip_cotangent,
                cfg.collapse_share,
            )

    def teach(self, teacher, device: torch.device, update: int, turn: int) -> EpisodeReport:
        """Runs this worker's `turn`-th episode of an update, and goes back through it."""
        # The 0 keeps the seeds, and with them the results, of runs before there were several workers.
        salt = mixed_seed(self.cfg.seed, 0, update, self.workers.episode(turn))
        lesson = self._prepare(teacher, salt, device, self.continued)
        self._compare_with_exact(lesson)
        measure = self._measure(lesson.student, salt, device)
        watch = EpisodeWatch(self.plan.steps, self.plan.first, self.cfg.log_cotangent_every)
        run = (lesson.student, self.rule, lesson.source, lesson.start)
        with naming_options():
            result = run_episode(*run, measure, self.plan, watch=watch)
        if result.hypergradient is not None:
            watch.finish(result.hypergradient.norms[0])
        if str(self.cfg.student_start) == "continue" and result.collapse is None:
            self.continued = result.final.params
        self._episodes += 1
        return EpisodeReport(lesson.progress, result)

    def examine(self, teacher, device: torch.device) -> ValidationReport:
        """Runs the same episode at every validation, without the reverse pass, and decodes dev."""
        salt = VALIDATION_EPISODE
        lesson = self._prepare(teacher, salt, device, continued=None)
        watch = EpisodeWatch(self.plan.steps, self.plan.first, 0)
        final = unroll(lesson.student, self.rule, lesson.source, lesson.start, self.plan.steps, watch=watch).final
        measure = self._measure(lesson.student, salt, device)
        value = measure.value(final.params)
        pairs = self._dev_pairs()
        indices = fixed_sample(pairs, self.cfg.greedy_sentences, self.cfg.seed)
        return ValidationReport(value, greedy_bleu(self.task, lesson.student.module, pairs, indices))

    # A lesson ---------------------------------------------------------------------

    def _prepare(self, teacher, salt: int, device: torch.device, continued: Optional[Tensor]) -> Lesson:
        student = self._student_on(device)
        params = self._initial_params(salt, device, continued)
        progress = self._progress(student, params).to(device)
        with torch.no_grad():
            coefficients = teacher(progress)
        batches = self._student_batches()
        order = _shuffled(len(batches), self.plan.steps, mixed_seed(salt, BATCH_SALT))
        helper = (self.workers.rank,) if self.workers.shared and self.workers.rank else ()

        def source(t: int) -> Step:
            batch = on_device(self._batch(batches[order[t]]), device)
            return Step(coefficients[t], batch, mixed_seed(salt, DROPOUT_SALT, t, *helper), self._rates[t])

        return Lesson(student, self.rule.initial(params), progress, source)

    def _batch(self, indices: Any) -> dict[str, Any]:
        """This worker's part of a batch, with the tokens of the whole."""
        pairs = self.pairs(self.cfg.train_subset)
        own = self.workers.part(indices)
        # A worker without a sentence takes one with no weight.
        batch = pairs.collater([pairs[index] for index in own or indices[:1]])
        if self.workers.shared:
            tokens = sum(int(pairs.tgt_sizes[index]) for index in indices)
            batch["ntokens"] = tokens if own else float("inf")
        return batch

    def _initial_params(self, salt: int, device: torch.device, continued: Optional[Tensor]) -> Tensor:
        if str(self.cfg.student_start) == "fresh":
            return self._fresh_params(salt, device)
        return self._warm_params if continued is None else continued.to(device)

    def _fresh_params(self, salt: int, device: torch.device) -> Tensor:
        with torch.random.fork_rng([]):
            torch.manual_seed(salt)
            fresh = build_student(self.cfg.student, self.task, self.loss, fresh=True)
        return fresh.flat_params().to(device)

    def _progress(self, student: Student, params: Tensor) -> Tensor:
        """s_t for t = 0 … T − 1: the time of the episode, and BLEU at its start, (T, features)."""
        warm = params is self._warm_params
        values = self._warm_progress if warm and self._warm_progress else self._measure_progress(student, params)
        if warm:
            self._warm_progress = values
        steps = self.plan.steps
        rows = [progress_vector(FEATURES, values._replace(updates=t / steps)._asdict()) for t in range(steps)]
        return torch.stack(rows)

    def _measure_progress(self, student: Student, params: Tensor) -> ProgressValues:
        student.load_flat_params(params)
        train, dev = self.pairs(self.cfg.train_subset), self._dev_pairs()
        sample = (self.cfg.progress_sentences, self.cfg.seed)
        return ProgressValues(0.0, **sampled_bleu(self.task, student.module, train, dev, *sample))

    def _measure(self, student: Student, salt: int, device: torch.device) -> ExpectedBleu:
        pairs = self._dev_pairs()
        indices = fixed_sample(pairs, self.cfg.measure_sentences, mixed_seed(salt, MEASURE_SALT))
        batches = list(batches_of(pairs, indices, device, MEASURE_SENTENCES))
        # In full precision whatever the student's: BLEU's differences are small.
        plain = student.within(twice_differentiable)
        own = self.workers.part(batches)
        return ExpectedBleu(self.task, plain, own, self.settings, mixed_seed(salt, MEASURE_SALT), len(indices))

    def _student_batches(self) -> List[Any]:
        """Index lists of the student's batches, in fairseq's way; the same for every episode."""
        if self._batches is None:
            pairs = self.pairs(self.cfg.train_subset)
            limits = self.batch_limits
            assert limits is not None, "fairseq builds the train iterator before it trains or validates"
            with data_utils.numpy_seed(self.cfg.seed):
                indices = pairs.ordered_indices()
            indices, _ = pairs.filter_indices_by_size(indices, self.task.max_positions())
            self._batches = list(pairs.batch_by_size(indices, **limits))
            self._rates = self._student_rates(len(self._batches))
        return self._batches

    def _student_rates(self, epoch_steps: int) -> List[float]:
        cfg = self.cfg
        schedule = (cfg.student_lr_scheduler, cfg.student_lr_options, cfg.student_lr)
        return student_rates(*schedule, self.plan.steps, epoch_steps)

    def _dev_pairs(self) -> FairseqDataset:
        return self.pairs(self.cfg.valid_subset.split(",")[0])

    def pairs(self, split: str) -> FairseqDataset:
        """The sentence pairs behind a split of episodes."""
        if split not in self.task.datasets:
            self.task.load_dataset(split)
        return self.task.datasets[split].pairs

    # Before the first episode -------------------------------------------------------

    def _student_on(self, device: torch.device) -> Student:
        if self._warm_params is None:
            if device.type == "cpu":
                keep_freed_memory()
            self.student.module.to(device)
            self.student = self.student.within(student_context(self.cfg, device))
            self._warm_params = self.student.flat_params()
            logger.info(f"teaching: {self.task.signature}")
            kept = self.plan.trajectory.describe(self.plan.first, self.plan.steps, self._record_bytes)
            logger.info(f"{kept} ({self.cfg.trajectory_storage})")
            self._probe()
        return self.student

    def _probe(self) -> None:
        pairs = self.pairs(self.cfg.train_subset)
        shortest = min(range(min(len(pairs), 1000)), key=pairs.num_tokens)
        device = self._warm_params.device
        batch = next(batches_of(pairs, [shortest], device))
        ones = torch.ones(len(self.task.target_dictionary), device=device)
        point = Point(self._warm_params, ones, batch, 0)
        if str(self.cfg.student_precision) != "float32":
            require_precision(self.student, point)
        if not takes_differences(self.cfg):
            require_second_derivatives(self.student, point)
            return
        with naming_options():
            require_smooth(self.student, point, allowed=list(filter(None, self.cfg.allow_kinks.split(","))))
        try:
            require_second_derivatives(self.student.within(twice_differentiable), point)
        except RuntimeError as error:
            self._guarded = False
            logger.warning(f"the products by differences cannot be compared with exact ones: {error}")

    def _compare_with_exact(self, lesson: Lesson) -> None:
        """The guard: stops where the products of an episode's first step are far from exact ones."""
        every = self.cfg.guard_every
        due = self._episodes % every == 0 if every else self._episodes == 0
        inexact = takes_differences(self.cfg) or str(self.cfg.student_precision) != "float32"
        if not (due and inexact and self._guarded):
            return
        step, other = lesson.source(0), lesson.source(self.plan.steps - 1)
        # Another batch's gradient: as typical a direction as can be had for one training step.
        vector = lesson.student.gradients(other.at(lesson.start.params)).params
        found = compare_with_exact(lesson.student, self.plan.curvature, step.at(lesson.start.params), vector)
        logger.info(
            f"guard: products of one step against exact ones in float32, relative errors: Hessian "
            f"{found.hessian:.2g}, mixed {found.mixed:.2g}, replay {found.replay:.2g}"
        )
        # Who allows kinks has been told; a step that cannot be repeated is no such thing.
        with naming_options():
            require_agreement(found._replace(hessian=0.0, mixed=0.0) if self.cfg.allow_kinks else found)


def _shuffled(batches: int, steps: int, seed: int) -> np.ndarray:
    """Batch numbers of an episode: passes over all batches, each in a new order, (steps,)."""
    draw = np.random.RandomState(seed)
    passes = [draw.permutation(batches) for _ in range(-(-steps // batches))]
    return np.concatenate(passes)[:steps]
