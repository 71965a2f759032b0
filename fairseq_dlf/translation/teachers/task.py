"""The task `dlf_teaching`: trains a teacher; one update is one episode of a student."""

import logging
import re
from pathlib import Path
from typing import Any, List, Optional

import numpy as np
import torch
from fairseq.data import FairseqDataset
from fairseq.tasks import register_task
from fairseq.tasks.translation import TranslationTask

import fairseq_dlf
from fairseq_dlf.core.support.workers import Workers
from fairseq_dlf.translation.bleu.progress import FEATURES
from fairseq_dlf.translation.episodes.config import DlfTeachingConfig
from fairseq_dlf.translation.episodes.lessons import EpisodeReport, EpisodeRunner, ValidationReport
from fairseq_dlf.translation.episodes.option_checks import require_options, require_several
from fairseq_dlf.translation.episodes.options import reverse_signature, rule_signature
from fairseq_dlf.translation.hooks.launch import require_data_bin, require_joined
from fairseq_dlf.translation.teachers.criterion import DlfTeachingCriterion
from fairseq_dlf.translation.teachers.files import TASK_STATE_KEY, dictionary_fingerprint, export_checkpoint

logger = logging.getLogger(__name__)

MAX_COLLAPSES = 3
# Names of the checkpoints that fairseq may remove again.
_OF_RUNS = re.compile(r"checkpoint(\d+|_\d+_\d+|\.best_.*)")


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


@register_task("dlf_teaching", dataclass=DlfTeachingConfig)
class DlfTeachingTask(TranslationTask):
    """Trains the model `dlf_teacher` by the criterion `dlf_teaching`.

    fairseq's `--batch-size` and `--max-tokens` are the limits of the student's batches.
    """

    cfg: DlfTeachingConfig

    def __init__(self, cfg: DlfTeachingConfig, src_dict, tgt_dict):
        super().__init__(cfg, src_dict, tgt_dict)
        require_options(cfg)
        self.workers = Workers.of_this_run(cfg.share_episodes)
        require_several(cfg.share_episodes, self.workers.number)
        self._runner: Optional[EpisodeRunner] = None
        self._restored: dict[str, Any] = {}
        self._collapses_in_a_row = 0
        self._update, self._turn, self._good_episodes = -1, 0, 0
        self._collapse = ""

    @classmethod
    def setup_task(cls, cfg: DlfTeachingConfig, **kwargs):
        require_joined()
        require_data_bin(cfg.data)
        return super().setup_task(cfg, **kwargs)

    # What fairseq iterates over -------------------------------------------------

    def load_dataset(self, split, epoch=1, combine=False, **kwargs):
        super().load_dataset(split, epoch, combine, **kwargs)
        pairs = self.datasets[split]
        if len(pairs) == 0:
            raise ValueError(f"the split {split!r} of {self.cfg.data} is empty: preprocess the data again")
        episodes = 1 if split in self.cfg.valid_subset.split(",") else self._episodes_per_epoch()
        self.datasets[split] = EpisodeDataset(pairs, episodes)

    def _episodes_per_epoch(self) -> int:
        """A multiple of the workers, so that none idles; each counts its own, also of a shared episode."""
        episodes, number = self.cfg.episodes_per_epoch, self.workers.number
        return episodes * number if self.workers.shared else -(-episodes // number) * number

    def get_batch_iterator(self, dataset, max_tokens=None, max_sentences=None, **kwargs):
        """One episode a batch; the limits asked for are kept for the student's batches."""
        if dataset is self.datasets.get(self.cfg.train_subset):
            self.runner.batch_limits = {"max_tokens": max_tokens, "max_sentences": max_sentences}
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
        self._runner = EpisodeRunner(self, self.cfg, self.workers)
        self._runner.continued = self._restored.get("continued_student")
        return model

    @property
    def runner(self) -> EpisodeRunner:
        """What runs the episodes; there from `build_model` on."""
        if self._runner is None:
            raise RuntimeError("the task has no student yet: build the model first, as fairseq-train does")
        return self._runner

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
        if self._update != update_num:
            self._update, self._turn, self._good_episodes = update_num, -1, 0
        self._turn += 1
        return super().train_step(sample, model, criterion, optimizer, update_num, ignore_grad)

    def teach(self, teacher, device: torch.device) -> EpisodeReport:
        """Runs one episode with the teacher's present coefficients and goes back through it."""
        report = self.runner.teach(teacher, device, self._update, self._turn)
        if report.result.collapse is None:
            self._good_episodes += 1
        else:
            self._collapse = report.result.collapse
            logger.warning(f"episode collapsed, the teacher does not learn from it: {self._collapse}")
        return report

    def examine(self, teacher, device: torch.device) -> ValidationReport:
        """Runs the same episode at every validation, without the reverse pass, and decodes dev."""
        return self.runner.examine(teacher, device)

    def optimizer_step(self, optimizer, model, update_num):
        """Skips an update without a good episode: Adam's momentum would move the teacher all the same.

        Raises:
            RuntimeError: on every worker, at the third such update in a row, with advice.
        """
        if self.workers.total(self._good_episodes, next(model.parameters()).device) > 0:
            self._collapses_in_a_row = 0
            super().optimizer_step(optimizer, model, update_num)
            return
        self._collapses_in_a_row += 1
        logger.warning(f"the teacher is not updated: no good episode ({self._collapses_in_a_row} in a row)")
        if self._collapses_in_a_row >= MAX_COLLAPSES:
            raise RuntimeError(
                f"{MAX_COLLAPSES} updates in a row had no episode that did not collapse, the last because "
                f"{self._collapse or 'of what another worker says'}. Lower --student-lr or --lr, clip with "
                "--student-clip-norm, shorten --student-steps, set --truncate or --clip-cotangent, or raise "
                "--ce-share; then resume from the last checkpoint or start again"
            )

    def get_checkpoint_dict(self) -> dict[str, Any]:
        """What must survive a resume; fairseq hands it back to `set_checkpoint_dict`."""
        state = {"collapses_in_a_row": self._collapses_in_a_row}
        if self.runner.continued is not None:
            state["continued_student"] = self.runner.continued.cpu()
        return {type(self).__name__: state}

    def set_checkpoint_dict(self, state: dict[str, Any]) -> None:
        self._collapses_in_a_row = state["collapses_in_a_row"]
        self._restored = state
        if self._runner is not None:
            self._runner.continued = state.get("continued_student")

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
        # fairseq removes what --keep-interval-updates and its like do not keep, but not our exports of it.
        for exported in folder.glob("checkpoint*.safetensors"):
            if _OF_RUNS.fullmatch(exported.stem) and not exported.with_suffix(".pt").exists():
                exported.unlink(missing_ok=True)

    # What names the result ------------------------------------------------------

    @property
    def signature(self) -> str:
        """One line with all that changes the teacher: method, horizon, rates, data, seed, version."""
        cfg, runner = self.cfg, self.runner
        limits = runner.batch_limits or {}
        fields = [
            "dlf",
            reverse_signature(cfg),
            f"student:{runner.student_digest}:{cfg.student_start}",
            rule_signature(cfg),
            f"batch:{limits.get('max_sentences')}s:{limits.get('max_tokens')}t",
            f"ce:{cfg.ce_share:g}:ls{cfg.label_smoothing:g}",
            f"{runner.settings.signature}:dev{cfg.measure_sentences}:progress{cfg.progress_sentences}",
            f"teacher:lr{','.join(f'{rate:g}' for rate in cfg.lr)}{self._episodes_signature()}",
            f"data:{dictionary_fingerprint(self.target_dictionary)}:{len(runner.pairs(cfg.train_subset))}",
            f"seed:{cfg.seed}",
            f"v{fairseq_dlf.__version__}",
        ]
        return "|".join(fields)

    def _episodes_signature(self) -> str:
        """How many episodes are an update's, and how many workers share each, where this is not one."""
        turns = self.cfg.update_freq[0] if self.cfg.update_freq else 1
        if self.workers.shared:
            return f":episodes{turns}:shared{self.workers.number}"
        return f":episodes{turns * self.workers.number}" if turns * self.workers.number > 1 else ""

    def _header(self) -> dict[str, Any]:
        return {
            "features": list(FEATURES),
            "dictionary": dictionary_fingerprint(self.target_dictionary),
            "types": len(self.target_dictionary),
            "signature": self.signature,
        }
