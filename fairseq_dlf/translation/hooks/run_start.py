"""The start of `fairseq-train`: its folder, unreadable checkpoints, finished runs."""

import logging
import shlex
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from fairseq import checkpoint_utils
from fairseq.data.iterators import EpochBatchIterating
from fairseq.dataclass.configs import CheckpointConfig
from fairseq.file_io import PathManager
from fairseq.trainer import Trainer

from fairseq_dlf.core.files.run_folder import only_run_in
from fairseq_dlf.core.support.errors import InputError, UserError
from fairseq_dlf.translation.hooks.checkpoint_files import load_checkpoint, newest_readable, updates_of
from fairseq_dlf.translation.hooks.dictionaries import keep_fingerprints
from fairseq_dlf.translation.hooks.launch import require_rates
from fairseq_dlf.translation.hooks.task_state import restore

logger = logging.getLogger(__name__)

LAST = "checkpoint_last.pt"

_fairseq_verify = checkpoint_utils.verify_checkpoint_directory
_fairseq_load = checkpoint_utils.load_checkpoint
# The folder of this process's run, until it ends or another run begins.
_folder = ExitStack()


def watch_start() -> None:
    """Make fairseq begin its runs with the functions below; idempotent."""
    checkpoint_utils.verify_checkpoint_directory = open_folder
    checkpoint_utils.load_checkpoint = begin


# The folder -------------------------------------------------------------------


def open_folder(save_dir: str) -> None:
    """Make the folder of a run, keep other runs out of it, and remove the incomplete files of a killed run.

    Forced by: two runs of fairseq in one folder overwrite each other silently. fairseq calls this function
    only in the first process of a run, and neither to generate nor to validate.

    Raises:
        InputError: another run uses the folder, or it cannot be created.
    """
    if PathManager.path_requires_pathmanager(save_dir):
        _fairseq_verify(save_dir)
        return
    if not save_dir:
        raise InputError("the folder for checkpoints has an empty name: give --save-dir one")
    _folder.close()
    try:
        _folder.enter_context(only_run_in(Path(save_dir)))
    except UserError as error:
        raise InputError(error.with_option({"out": "--save-dir"})) from error
    for left in Path(save_dir).glob("checkpoint*.pt.tmp"):
        left.unlink(missing_ok=True)


# The checkpoint ---------------------------------------------------------------


def begin(cfg: CheckpointConfig, trainer: Trainer, **passed_on: Any) -> tuple[Any, EpochBatchIterating]:
    """Restore a run like fairseq, but name a checkpoint that cannot be read, and end a finished run.

    Forced by: fairseq ends in a traceback without the file's name, and compares `--max-update` only after
    another update.

    Raises:
        InputError: the checkpoint cannot be read, or a learning rate would end the run at once.
    """
    require_rates(trainer.cfg.optimization.lr)
    keep_fingerprints(trainer.task)
    try:
        extra_state, iterator = _fairseq_load(cfg, trainer, **passed_on)
    except UserError:
        raise
    except Exception as error:
        path = _restored(cfg, trainer.checkpoint_suffix)
        if path.is_file():
            _require_readable(path, error)
        raise
    restore(trainer.task, extra_state, trainer.get_num_updates())
    _end_if_done(cfg, trainer)
    _complete_save(cfg, trainer)
    return extra_state, iterator


def _complete_save(cfg: CheckpointConfig, trainer: Trainer) -> None:
    """Have our tasks write what belongs beside a checkpoint: a kill may have come between the two.

    Forced by: fairseq tells a task of a save, but not of a resume; a finished run never saves again.
    """
    last = Path(cfg.save_dir) / LAST
    complete = getattr(trainer.task, "complete_save", None)
    if complete is not None and trainer.is_data_parallel_master and last.is_file():
        complete(last)


def _restored(cfg: CheckpointConfig, suffix: str) -> Path:
    """Return the file that fairseq restores."""
    if cfg.restore_file != LAST:
        return Path(cfg.restore_file.replace(".pt", f"{suffix}.pt"))
    last = Path(cfg.save_dir) / LAST.replace(".pt", f"{suffix}.pt")
    return last if last.exists() or cfg.finetune_from_model is None else Path(cfg.finetune_from_model)


def _require_readable(path: Path, cause: Exception) -> None:
    try:
        load_checkpoint(path, "another")
    except UserError as error:
        raise InputError(f"{error}{_way_on(path)}") from cause


def _way_on(path: Path) -> str:
    """Return how to continue if the last checkpoint of a run cannot be read."""
    if not path.name.startswith(Path(LAST).stem):
        return ""
    other = newest_readable(path.parent, besides=path)
    if other is None:
        return f"; no other checkpoint beside it can be read: delete {path} to start the run again"
    copy = shlex.join(["cp", str(other), str(path)])
    return f"; the newest beside it that can be read is of update {updates_of(load_checkpoint(other)):,}: {copy}"


def _end_if_done(cfg: CheckpointConfig, trainer: Trainer) -> None:
    """Make fairseq's loop over epochs end before the first one if all updates are done."""
    limits = trainer.cfg.optimization
    if 0 < limits.max_update <= trainer.get_num_updates():
        logger.info(
            f"the run in {cfg.save_dir} is finished: its {trainer.get_num_updates():,} updates are done, "
            f"--max-update {limits.max_update:,} allows no more; nothing is changed"
        )
        limits.max_epoch = -1
