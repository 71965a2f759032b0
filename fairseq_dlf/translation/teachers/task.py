"""The task `dlf_teaching`, which trains a teacher; one update is one episode of a student."""

import logging
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any, Optional

from fairseq.criterions import FairseqCriterion
from fairseq.data import Dictionary, FairseqDataset
from fairseq.models import BaseFairseqModel
from fairseq.tasks import register_task
from fairseq.tasks.translation import TranslationTask

import fairseq_dlf
from fairseq_dlf.core.support.errors import InputError, StateError
from fairseq_dlf.core.support.signature import Part, Signature
from fairseq_dlf.core.support.workers import Workers
from fairseq_dlf.core.teaching.loop.collapse import CollapseWatch
from fairseq_dlf.translation.bleu.decoding import unwrapped
from fairseq_dlf.translation.episodes.batches import BatchLimits
from fairseq_dlf.translation.episodes.config import DlfTeachingConfig
from fairseq_dlf.translation.episodes.lessons import Lessons
from fairseq_dlf.translation.episodes.option_checks import (
    require_alone,
    require_equal_shares,
    require_kept,
    require_options,
    require_several,
)
from fairseq_dlf.translation.episodes.options import OPTIONS
from fairseq_dlf.translation.episodes.starts import origins
from fairseq_dlf.translation.hooks.dictionaries import dictionary_fingerprint
from fairseq_dlf.translation.hooks.launch import refuse_ignored, require_data_bin, require_joined
from fairseq_dlf.translation.hooks.naming import naming_options
from fairseq_dlf.translation.teachers.criterion import DlfTeachingCriterion
from fairseq_dlf.translation.teachers.episodes import EpisodeDataset
from fairseq_dlf.translation.teachers.exports import export_saved
from fairseq_dlf.translation.teachers.files import TASK_STATE_KEY, header_of
from fairseq_dlf.translation.teachers.member_adam import MemberAdam
from fairseq_dlf.translation.teachers.model import DlfTeacherModel
from fairseq_dlf.translation.teachers.signatures import optimiser_part, options_part, workers_part
from fairseq_dlf.translation.teachers.turns import Turn, Turns

logger = logging.getLogger(__name__)

ADVICE = (
    "Lower --student-lr or --lr, clip with --student-clip-norm, shorten --student-steps, set --truncate or "
    "--clip-cotangent, or raise --ce-share; then resume from the last checkpoint or start again"
)


@register_task("dlf_teaching", dataclass=DlfTeachingConfig)
class DlfTeachingTask(TranslationTask):
    """The task that trains the model `dlf_teacher` by the criterion `dlf_teaching`.

    fairseq's `--batch-size` and `--max-tokens` limit the student's batches.
    """

    cfg: DlfTeachingConfig

    def __init__(self, cfg: DlfTeachingConfig, src_dict: Dictionary, tgt_dict: Dictionary):
        super().__init__(cfg, src_dict, tgt_dict)
        require_options(cfg)
        self.workers = Workers.of_this_run(cfg.share_episodes)
        require_several(cfg.share_episodes, self.workers.number)
        require_alone(cfg, self.workers)
        self.collapses = CollapseWatch()
        self._lessons: Optional[Lessons] = None
        self._teacher: Part = {}
        self._signature_logged = False
        ways = [origin.way for origin in origins(cfg.student or "", str(cfg.student_start))]
        require_equal_shares(cfg, self.workers, len(ways))
        require_kept(ways, self.workers)
        self.members = len(ways)
        self.turns = Turns([way == "continue" for way in ways], self.workers.episode)

    @classmethod
    def setup_task(cls, cfg: DlfTeachingConfig, **kwargs: Any) -> "DlfTeachingTask":
        require_joined()
        require_data_bin(cfg.data)
        return super().setup_task(cfg, **kwargs)

    # Data sets and batches ------------------------------------------------------

    def load_dataset(self, split: str, epoch: int = 1, combine: bool = False, **kwargs: Any) -> None:
        super().load_dataset(split, epoch, combine, **kwargs)
        pairs = self.datasets[split]
        if len(pairs) == 0:
            raise InputError(f"the split {split!r} of {self.cfg.data} is empty: preprocess the data again")
        of_teachers = split in self.cfg.valid_subset.split(",")
        self.datasets[split] = EpisodeDataset(pairs, self._validations() if of_teachers else self._episodes_per_epoch())

    def pairs(self, split: str) -> FairseqDataset:
        """Return the sentence pairs of a split of episodes."""
        if split not in self.datasets:
            self.load_dataset(split)
        return self.datasets[split].pairs

    def _episodes_per_epoch(self) -> int:
        """Return a multiple of the numbers of workers and members, so that none idles.

        Each worker counts a shared episode as its own.
        """
        number, shared = self.workers.number, self.workers.shared
        together = self.members if shared else math.lcm(number, self.members)
        episodes = -(-self.cfg.episodes_per_epoch // together) * together
        return episodes * number if shared else episodes

    def _validations(self) -> int:
        """Return the number of episodes of a validation, one of each member; each worker counts a shared one."""
        return self.members * (self.workers.number if self.workers.shared else 1)

    def get_batch_iterator(
        self, dataset: FairseqDataset, max_tokens: Any = None, max_sentences: Any = None, **kwargs: Any
    ) -> Any:
        """Return an iterator of one episode per batch; fairseq's limits apply to the student's batches instead."""
        if dataset is self.datasets.get(self.cfg.train_subset):
            # Any earlier, a resume would replace it by the header in the checkpoint.
            self.state.merge_state_dict({TASK_STATE_KEY: self._header()})
        kwargs.update(max_positions=None, required_batch_size_multiple=1)
        return super().get_batch_iterator(dataset, max_tokens=None, max_sentences=1, **kwargs)

    # Model and criterion --------------------------------------------------------

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> BaseFairseqModel:
        model = super().build_model(cfg, from_checkpoint)
        if not isinstance(model, DlfTeacherModel):
            raise InputError(
                f"--task dlf_teaching trains a teacher, but --arch builds a {type(model).__name__}: "
                "pass --arch dlf_teacher"
            )
        unread = not model.teacher.reads_progress
        why = f"the teacher {model.teacher.kind} looks at no progress: take another --teacher-kind"
        refuse_ignored(self.cfg, "progress_interval", unread, why)
        self._teacher = model.signature
        # Built here and not in the first episode, so that a wrong checkpoint fails before the data is read.
        limits = BatchLimits(self.cfg.batch_size, self.cfg.max_tokens)
        with naming_options(OPTIONS):
            self._lessons = Lessons(self, self.cfg, self.workers, limits, self.pairs)
        return model

    @property
    def lessons(self) -> Lessons:
        """The lessons for the criterion, which exist from `build_model` on."""
        if self._lessons is None:
            raise StateError("the task has no student yet: build the model first, as fairseq-train does")
        return self._lessons

    def build_criterion(self, cfg: Any, from_checkpoint: bool = False) -> FairseqCriterion:
        criterion = super().build_criterion(cfg, from_checkpoint)
        if not isinstance(criterion, DlfTeachingCriterion):
            raise InputError(
                f"--task dlf_teaching trains a teacher, but --criterion builds a {type(criterion).__name__}: "
                "pass --criterion dlf_teaching"
            )
        return criterion

    # Updates --------------------------------------------------------------------

    def train_step(
        self, sample: Any, model: Any, criterion: Any, optimizer: Any, update_num: int, ignore_grad: bool = False
    ) -> Any:
        """Run one episode."""
        turn = self.turns.begin(update_num)
        loss, sample_size, logged = super().train_step(turn, model, criterion, optimizer, update_num, ignore_grad)
        self.turns.end(criterion.ending)
        if isinstance(optimizer, MemberAdam):
            optimizer.credit(turn.member, self.members, 0 if ignore_grad else sample_size)
        return loss, sample_size, logged

    def valid_step(self, sample: Any, model: Any, criterion: Any, **kwargs: Any) -> Any:
        """Validate on the member whose number the episode has."""
        number = int(sample["id"][0]) // (self.workers.number if self.workers.shared else 1)
        # A worker without an episode of its own repeats one of training, which may have any number.
        return super().valid_step(Turn(0, 0, None, number % self.members), model, criterion, **kwargs)

    @naming_options(OPTIONS)
    def optimizer_step(self, optimizer: Any, model: Any, update_num: int) -> None:
        """Skip an update without a good episode, in which Adam's momentum would still move the teacher.

        After an update the coefficients are within their bounds again.

        Raises:
            CollapsedError: on every worker, at the third such update in a row, with advice.
        """
        if self.workers.total(self.turns.good, next(model.parameters()).device) > 0:
            self.collapses.see(None)
            super().optimizer_step(optimizer, model, update_num)
            unwrapped(model).keep_bounds()
            return
        self.collapses.see(self.turns.cause)
        logger.warning(f"the teacher is not updated: no good episode ({self.collapses.in_a_row} in a row)")
        self.collapses.require_recovery(ADVICE)

    # Checkpoints ------------------------------------------------------------------

    def get_checkpoint_dict(self) -> dict[str, Any]:
        """Return the state that must survive a resume; fairseq passes it to `set_checkpoint_dict`."""
        return {type(self).__name__: {"collapses": self.collapses.state(), **self.turns.state()}}

    def set_checkpoint_dict(self, state: dict[str, Any]) -> None:
        # Version 0.1.0 stored the number only.
        self.collapses.restore(state.get("collapses") or {"in_a_row": state["collapses_in_a_row"]})
        self.turns.restore(state)

    def post_save(self, checkpoint_path: str, num_updates: int) -> None:
        """Export the checkpoint that fairseq has just saved as safetensors."""
        export_saved(Path(checkpoint_path))

    def complete_save(self, checkpoint: Path) -> None:
        """Export a checkpoint that a kill left without its export; called when a run begins again."""
        export_saved(checkpoint)

    # Signature ------------------------------------------------------------------

    @property
    def signature(self) -> Signature:
        """Everything that changes the teacher: method, horizon, rates, data, seed, version."""
        return Signature.of(
            "dlf",
            self.lessons.signature,
            self._teacher,
            optimiser_part(self.cfg),
            workers_part(self.cfg, self.workers),
            options_part(self.cfg),
            {"dictionary": dictionary_fingerprint(self.target_dictionary), "version": fairseq_dlf.__version__},
        )

    def _header(self) -> dict[str, Any]:
        signature = str(self.signature)
        if not self._signature_logged:
            self._signature_logged = True
            logger.info(f"teaching: {signature}")
        loss = self.lessons.loss
        return asdict(header_of(self._teacher["teacher"], loss.form.spec, self.target_dictionary, signature, loss.spec))
