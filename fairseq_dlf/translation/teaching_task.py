"""The task `dlf_teaching`: trains a teacher; one update is one episode of a student."""

import hashlib
import logging
from pathlib import Path
from typing import Any, List, NamedTuple, Optional

import numpy as np
import torch
from fairseq.data import FairseqDataset, data_utils
from fairseq.tasks import register_task
from fairseq.tasks.translation import TranslationTask
from torch import Tensor

import fairseq_dlf
from fairseq_dlf.core.curvature import require_second_derivatives, twice_differentiable
from fairseq_dlf.core.episode import EpisodePlan, EpisodeResult, run_episode
from fairseq_dlf.core.hypergradient import Step, StepSource, unroll
from fairseq_dlf.core.loss import DiagonalLoss
from fairseq_dlf.core.progress import progress_vector
from fairseq_dlf.core.student import Student
from fairseq_dlf.core.trajectory import Checkpoints, Everything, Trajectory
from fairseq_dlf.core.update_rules import SGD, StudentState
from fairseq_dlf.translation.bleu import CorpusBleu
from fairseq_dlf.translation.decoding import batches_of, fixed_sample, greedy_bleu, on_device
from fairseq_dlf.translation.expected_bleu import MEASURE_SENTENCES, ExpectedBleu
from fairseq_dlf.translation.run_progress import ProgressValues, sampled_bleu
from fairseq_dlf.translation.students import build_student
from fairseq_dlf.translation.teacher_files import (
    FEATURES,
    TASK_STATE_KEY,
    dictionary_fingerprint,
    export_checkpoint,
)
from fairseq_dlf.translation.teaching_config import DlfTeachingConfig, require_options
from fairseq_dlf.translation.teaching_criterion import DlfTeachingCriterion
from fairseq_dlf.translation.translation_task import expected_bleu_settings, require_data_bin

logger = logging.getLogger(__name__)

MAX_COLLAPSES = 3
# Salts keep an episode's sources of randomness apart.
BATCH_SALT, DROPOUT_SALT, MEASURE_SALT = 1, 2, 3
VALIDATION_EPISODE = 0


class EpisodeDataset(FairseqDataset):
    """What fairseq iterates over in teaching: an item is one episode, known by its number."""

    def __init__(self, pairs: FairseqDataset, episodes: int):
        self.pairs = pairs
        self.episodes = episodes

    def __getitem__(self, index: int) -> int:
        return index

    def __len__(self) -> int:
        return self.episodes

    def collater(self, samples: List[int]) -> dict[str, Any]:
        return {"id": torch.tensor(samples), "nsentences": len(samples)} if samples else {}

    def num_tokens(self, index: int) -> int:
        return 1

    def size(self, index: int) -> int:
        return 1

    def ordered_indices(self) -> np.ndarray:
        return np.arange(self.episodes)


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


@register_task("dlf_teaching", dataclass=DlfTeachingConfig)
class DlfTeachingTask(TranslationTask):
    """Trains the model `dlf_teacher` by the criterion `dlf_teaching`.

    fairseq's `--batch-size` and `--max-tokens` are the limits of the student's batches.
    """

    cfg: DlfTeachingConfig

    def __init__(self, cfg: DlfTeachingConfig, src_dict, tgt_dict):
        super().__init__(cfg, src_dict, tgt_dict)
        require_options(cfg)
        self.settings = expected_bleu_settings(cfg)
        self.loss = DiagonalLoss(tgt_dict.pad(), cfg.ce_share, cfg.label_smoothing)
        momentum = cfg.student_momentum if str(cfg.student_optimizer) == "momentum" else 0.0
        self.rule = SGD(momentum, cfg.student_clip_norm, cfg.student_weight_decay)
        self.plan = EpisodePlan(
            cfg.student_steps, cfg.truncate, trajectory=self._trajectory, collapse_share=cfg.collapse_share
        )
        self._student: Optional[Student] = None
        self._student_digest = ""
        self._warm_params: Optional[Tensor] = None
        self._warm_progress: Optional[ProgressValues] = None
        self._batch_limits: Optional[dict[str, Any]] = None
        self._batches: Optional[List[Any]] = None
        self._continued: Optional[Tensor] = None
        self._collapses_in_a_row = 0
        self._episode = (-1, 0)
        self.collapsed = False

    @classmethod
    def setup_task(cls, cfg: DlfTeachingConfig, **kwargs):
        require_data_bin(cfg.data)
        return super().setup_task(cfg, **kwargs)

    # What fairseq iterates over -------------------------------------------------

    def load_dataset(self, split, epoch=1, combine=False, **kwargs):
        super().load_dataset(split, epoch, combine, **kwargs)
        pairs = self.datasets[split]
        if len(pairs) == 0:
            raise ValueError(f"the split {split!r} of {self.cfg.data} is empty: preprocess the data again")
        episodes = 1 if split in self.cfg.valid_subset.split(",") else self.cfg.episodes_per_epoch
        self.datasets[split] = EpisodeDataset(pairs, episodes)

    def get_batch_iterator(self, dataset, max_tokens=None, max_sentences=None, **kwargs):
        """One episode a batch; the limits asked for are kept for the student's batches."""
        if dataset is self.datasets.get(self.cfg.train_subset):
            self._batch_limits = {"max_tokens": max_tokens, "max_sentences": max_sentences}
            self.state.merge_state_dict({TASK_STATE_KEY: self._header()})
        kwargs.update(max_positions=None, required_batch_size_multiple=1)
        return super().get_batch_iterator(dataset, max_tokens=None, max_sentences=1, **kwargs)

    def build_model(self, cfg, from_checkpoint=False):
        model = super().build_model(cfg, from_checkpoint)
        if not hasattr(model, "teacher"):
            raise ValueError(
                f"--task dlf_teaching trains a teacher, but --arch builds a {type(model).__name__}: "
                "pass --arch dlf_teacher"
            )
        # Here rather than in the first episode: a wrong checkpoint fails before the data is read.
        self._student = build_student(self.cfg.student, self, self.loss, twice_differentiable, self.cfg.student_dropout)
        self._student_digest = hashlib.sha256(Path(self.cfg.student).read_bytes()).hexdigest()[:8]
        return model

    def build_criterion(self, cfg, from_checkpoint=False):
        criterion = super().build_criterion(cfg, from_checkpoint)
        if not isinstance(criterion, DlfTeachingCriterion):
            raise ValueError(
                f"--task dlf_teaching trains a teacher, but --criterion builds a {type(criterion).__name__}: "
                "pass --criterion dlf_teaching"
            )
        return criterion

    # Episodes -------------------------------------------------------------------

    def train_step(self, sample, model, criterion, optimizer, update_num, ignore_grad=False):
        # With --update-freq an update has several episodes.
        same_update = self._episode[0] == update_num
        self._episode = (update_num, self._episode[1] + 1 if same_update else 0)
        return super().train_step(sample, model, criterion, optimizer, update_num, ignore_grad)

    def teach(self, teacher, device: torch.device) -> EpisodeReport:
        """Runs one episode with the teacher's present coefficients and goes back through it."""
        salt = self._episode_seed()
        lesson = self._prepare(teacher, salt, device, self._continued)
        measure = self._measure(lesson.student, salt, device)
        result = run_episode(lesson.student, self.rule, lesson.start, lesson.source, measure, self.plan)
        if str(self.cfg.student_start) == "continue" and result.collapse is None:
            self._continued = result.final.params
        return EpisodeReport(lesson.progress, result)

    def examine(self, teacher, device: torch.device) -> ValidationReport:
        """Runs the same episode at every validation, without the reverse pass, and decodes dev."""
        salt = VALIDATION_EPISODE
        lesson = self._prepare(teacher, salt, device, continued=None)
        final = unroll(lesson.student, self.rule, lesson.start, self.cfg.student_steps, lesson.source).final
        measure = self._measure(lesson.student, salt, device)
        value = measure.value(final.params)
        pairs = self._dev_pairs()
        indices = fixed_sample(pairs, self.cfg.greedy_sentences, self.cfg.seed)
        return ValidationReport(value, greedy_bleu(self, lesson.student.module, pairs, indices))

    def note_outcome(self, collapse: Optional[str]) -> None:
        """Counts collapses in a row, and ends the run at the third.

        Raises:
            RuntimeError: with advice.
        """
        self.collapsed = collapse is not None
        self._collapses_in_a_row = self._collapses_in_a_row + 1 if self.collapsed else 0
        if collapse is None:
            return
        in_a_row = self._collapses_in_a_row
        logger.warning(f"episode collapsed ({in_a_row} in a row), teacher not updated: {collapse}")
        if in_a_row >= MAX_COLLAPSES:
            raise RuntimeError(
                f"{in_a_row} episodes in a row have collapsed, the last because {collapse}. Lower --student-lr "
                "or --lr, clip with --student-clip-norm, shorten --student-steps, set --truncate, or raise "
                "--ce-share; then resume from the last checkpoint or start again"
            )

    def optimizer_step(self, optimizer, model, update_num):
        """Skips the update of a collapsed episode: Adam's momentum would move the teacher all the same."""
        if _everywhere(self.collapsed, next(model.parameters()).device):
            return
        super().optimizer_step(optimizer, model, update_num)

    def get_checkpoint_dict(self) -> dict[str, Any]:
        """What must survive a resume; fairseq hands it back to `set_checkpoint_dict`."""
        state = {"collapses_in_a_row": self._collapses_in_a_row}
        if self._continued is not None:
            state["continued_student"] = self._continued.cpu()
        return {type(self).__name__: state}

    def set_checkpoint_dict(self, state: dict[str, Any]) -> None:
        self._collapses_in_a_row = state["collapses_in_a_row"]
        self._continued = state.get("continued_student")

    def post_save(self, checkpoint_path: str, num_updates: int) -> None:
        """Exports as safetensors what fairseq has just saved."""
        folder = Path(checkpoint_path).parent
        names = {Path(checkpoint_path).name, "checkpoint_best.pt", "checkpoint_last.pt"}
        for checkpoint in (folder / name for name in sorted(names)):
            exported = checkpoint.with_suffix(".safetensors")
            if not checkpoint.exists():
                continue
            if not exported.exists() or exported.stat().st_mtime_ns < checkpoint.stat().st_mtime_ns:
                export_checkpoint(checkpoint)

    def _prepare(self, teacher, salt: int, device: torch.device, continued: Optional[Tensor]) -> Lesson:
        student = self._student_on(device)
        params = self._initial_params(salt, device, continued)
        progress = self._progress(student, params).to(device)
        with torch.no_grad():
            coefficients = teacher(progress)
        batches = self._student_batches()
        order = _shuffled(len(batches), self.cfg.student_steps, _mix(salt, BATCH_SALT))
        pairs = self._pairs(self.cfg.train_subset)

        def source(t: int) -> Step:
            batch = pairs.collater([pairs[index] for index in batches[order[t]]])
            return Step(coefficients[t], on_device(batch, device), _mix(salt, DROPOUT_SALT, t), self.cfg.student_lr)

        return Lesson(student, self.rule.initial(params), progress, source)

    def _student_on(self, device: torch.device) -> Student:
        if self._warm_params is None:
            self._student.module.to(device)
            self._warm_params = self._student.flat_params()
            logger.info(f"teaching: {self.signature}")
            self._probe(self._student)
        return self._student

    def _probe(self, student: Student) -> None:
        pairs = self._pairs(self.cfg.train_subset)
        shortest = min(range(min(len(pairs), 1000)), key=pairs.num_tokens)
        device = self._warm_params.device
        batch = next(batches_of(pairs, [shortest], device))
        ones = torch.ones(len(self.target_dictionary), device=device)
        require_second_derivatives(student, self._warm_params, ones, batch, seed=0)

    def _initial_params(self, salt: int, device: torch.device, continued: Optional[Tensor]) -> Tensor:
        if str(self.cfg.student_start) == "fresh":
            return self._fresh_params(salt, device)
        return self._warm_params if continued is None else continued.to(device)

    def _fresh_params(self, salt: int, device: torch.device) -> Tensor:
        with torch.random.fork_rng([]):
            torch.manual_seed(salt)
            fresh = build_student(self.cfg.student, self, self.loss, twice_differentiable, fresh=True)
        return fresh.flat_params().to(device)

    def _progress(self, student: Student, params: Tensor) -> Tensor:
        """s_t for t = 0 … T − 1: the time of the episode, and BLEU at its start, (T, features)."""
        warm = params is self._warm_params
        values = self._warm_progress if warm and self._warm_progress else self._measure_progress(student, params)
        if warm:
            self._warm_progress = values
        steps = self.cfg.student_steps
        rows = [progress_vector(FEATURES, values._replace(updates=t / steps)._asdict()) for t in range(steps)]
        return torch.stack(rows)

    def _measure_progress(self, student: Student, params: Tensor) -> ProgressValues:
        student.load_flat_params(params)
        train, dev = self._pairs(self.cfg.train_subset), self._dev_pairs()
        sample = (self.cfg.progress_sentences, self.cfg.seed)
        return ProgressValues(0.0, **sampled_bleu(self, student.module, train, dev, *sample))

    def _measure(self, student: Student, salt: int, device: torch.device) -> ExpectedBleu:
        pairs = self._dev_pairs()
        indices = fixed_sample(pairs, self.cfg.measure_sentences, _mix(salt, MEASURE_SALT))
        batches = list(batches_of(pairs, indices, device, MEASURE_SENTENCES))
        return ExpectedBleu(self, student, batches, self.settings, _mix(salt, MEASURE_SALT))

    def _student_batches(self) -> List[Any]:
        """Index lists of the student's batches, in fairseq's way; the same for every episode."""
        if self._batches is None:
            pairs = self._pairs(self.cfg.train_subset)
            limits = self._batch_limits
            assert limits is not None, "fairseq builds the train iterator before it trains or validates"
            with data_utils.numpy_seed(self.cfg.seed):
                indices = pairs.ordered_indices()
            indices, _ = pairs.filter_indices_by_size(indices, self.max_positions())
            self._batches = list(pairs.batch_by_size(indices, **limits))
        return self._batches

    def _dev_pairs(self) -> FairseqDataset:
        return self._pairs(self.cfg.valid_subset.split(",")[0])

    def _pairs(self, split: str) -> FairseqDataset:
        if split not in self.datasets:
            self.load_dataset(split)
        return self.datasets[split].pairs

    def _trajectory(self) -> Trajectory:
        if str(self.cfg.trajectory) == "everything":
            return Everything()
        every = self.cfg.checkpoint_every or max(1, round(self.cfg.student_steps**0.5))
        return Checkpoints(every)

    def _episode_seed(self) -> int:
        rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
        return _mix(self.cfg.seed, rank, *self._episode)

    # What names the result ------------------------------------------------------

    @property
    def signature(self) -> str:
        """One line with all that changes the teacher: method, horizon, rates, data, seed, version."""
        cfg = self.cfg
        limits = self._batch_limits or {}
        fields = [
            "dlf",
            f"rmd:T{cfg.student_steps}:K{cfg.truncate}:exact",
            f"student:{self._student_digest}:{cfg.student_start}",
            f"sgd:lr{cfg.student_lr:g}:m{self.rule.momentum:g}:clip{self.rule.clip_norm:g}"
            f":wd{self.rule.weight_decay:g}:do{'ckpt' if cfg.student_dropout is None else cfg.student_dropout}",
            f"batch:{limits.get('max_sentences')}s:{limits.get('max_tokens')}t",
            f"ce:{cfg.ce_share:g}:ls{cfg.label_smoothing:g}",
            f"{self.settings.signature}:dev{cfg.measure_sentences}:progress{cfg.progress_sentences}",
            f"teacher:lr{','.join(f'{rate:g}' for rate in cfg.lr)}",
            f"data:{dictionary_fingerprint(self.target_dictionary)}:{len(self._pairs(cfg.train_subset))}",
            f"seed:{cfg.seed}",
            f"v{fairseq_dlf.__version__}",
        ]
        return "|".join(fields)

    def _header(self) -> dict[str, Any]:
        return {
            "features": list(FEATURES),
            "dictionary": dictionary_fingerprint(self.target_dictionary),
            "types": len(self.target_dictionary),
            "signature": self.signature,
        }


def _mix(*numbers: int) -> int:
    """A seed from several numbers, in the range that torch and NumPy take."""
    digest = hashlib.sha256(",".join(map(str, numbers)).encode()).digest()
    return int.from_bytes(digest[:4], "big")


def _shuffled(batches: int, steps: int, seed: int) -> np.ndarray:
    """Batch numbers of an episode: passes over all batches, each in a new order, (steps,)."""
    draw = np.random.RandomState(seed)
    passes = [draw.permutation(batches) for _ in range(-(-steps // batches))]
    return np.concatenate(passes)[:steps]


def _everywhere(flag: bool, device: torch.device) -> bool:
    """Whether the flag is set on every worker."""
    if not torch.distributed.is_initialized():
        return flag
    shared = torch.tensor([int(flag)], device=device)
    torch.distributed.all_reduce(shared, op=torch.distributed.ReduceOp.MIN)
    return bool(shared.item())
