"""Options of `dlf_teaching` that are missing, out of range, or would be ignored."""

import math
from collections.abc import Sequence
from pathlib import Path

from fairseq_dlf.core.support.errors import InputError, MissingFileError
from fairseq_dlf.core.support.workers import Workers
from fairseq_dlf.core.teaching.estimators import ESTIMATORS, learns_from
from fairseq_dlf.core.teaching.teachers import SteppingTeacher
from fairseq_dlf.translation.episodes.config import DlfTeachingConfig
from fairseq_dlf.translation.hooks.launch import NOTHING_TO_SMOOTH, option_of, refuse_ignored, require_rates
from fairseq_dlf.translation.hooks.naming import naming_options
from fairseq_dlf.translation.measures import MEASURES

_COUNTS = (
    "measure_sentences",
    "greedy_sentences",
    "progress_sentences",
    "progress_interval",
    "checkpoint_every",
    "guard_every",
    "log_cotangent_every",
)
_RULES = {
    "student_momentum": ("momentum", "nesterov"),
    "student_beta1": ("adam", "adamw"),
    "student_beta2": ("adam", "adamw"),
    "student_adam_eps": ("adam", "adamw"),
    "student_adam_eps_root": ("adam", "adamw"),
}
# Options of candidates by their setting.
_CANDIDATES = {
    "candidates": "candidates",
    "method": "candidate_method",
    "sharpness": "candidate_sharpness",
    "normalize": "candidate_sum",
    "with_reference": "candidate_reference",
}


def require_options(cfg: DlfTeachingConfig) -> None:
    """Refuse wrong options that no other part of the program would notice.

    Raises:
        InputError, MissingFileError: naming the option.
    """
    if not cfg.student:
        raise InputError(
            "--task dlf_teaching needs --student CHECKPOINT, the student that episodes start from; train one "
            "with --criterion label_smoothed_cross_entropy first"
        )
    _require_ranges(cfg)
    _require_effect(cfg)
    _require_read(cfg)
    _require_folder(cfg)


def _require_ranges(cfg: DlfTeachingConfig) -> None:
    if not 0 < cfg.student_lr < math.inf:
        raise InputError(f"--student-lr is {cfg.student_lr}, but must be positive and finite")
    require_rates(cfg.lr)
    for name in _COUNTS:
        if getattr(cfg, name) < 0:
            raise InputError(f"{option_of(name)} is {getattr(cfg, name)}, but must not be negative")
    for name in ("episodes_per_epoch", "micro_batches", "batch_size", "max_tokens"):
        value = getattr(cfg, name)
        if value is not None and value < 1:
            raise InputError(f"{option_of(name)} is {value}, but must be at least 1")


def _require_effect(cfg: DlfTeachingConfig) -> None:
    rule, way = str(cfg.student_optimizer), str(cfg.curvature)
    for name, rules in _RULES.items():
        refuse_ignored(cfg, name, rule not in rules, f"--student-optimizer is {rule}: take {' or '.join(rules)}")
    exact = "--curvature is exact, which takes no differences: take central or forward"
    refuse_ignored(cfg, "allow_kinks", way == "exact", exact)
    refuse_ignored(cfg, "difference_step", way == "exact", exact)
    refuse_ignored(cfg, "label_smoothing", cfg.ce_share == 0, NOTHING_TO_SMOOTH)
    if cfg.trajectory_memory is None:
        kept = f"--trajectory is {cfg.trajectory}: take checkpoints"
        refuse_ignored(cfg, "checkpoint_every", str(cfg.trajectory) != "checkpoints", kept)
    _require_graphs(cfg)
    if cfg.progress_interval > cfg.student_steps > 0:
        raise InputError(
            f"--progress-interval is {cfg.progress_interval}, but an episode has {cfg.student_steps} updates: take "
            "fewer, or 0 for its start only"
        )
    horizon = cfg.truncate or cfg.student_steps
    if cfg.checkpoint_every > horizon > 0:
        raise InputError(
            f"--checkpoint-every is {cfg.checkpoint_every}, but an episode has {horizon} steps to go back: take fewer"
        )


def _require_graphs(cfg: DlfTeachingConfig) -> None:
    """Refuse to keep graphs where there is no memory for them, or no use."""
    for ignored, why in (
        (cfg.trajectory_memory is None, "no memory is given: add --trajectory-memory"),
        (str(cfg.trajectory_storage) != "device", "graphs stay with the student: take --trajectory-storage device"),
        (str(cfg.curvature) != "exact", "products by differences have no graph: take --curvature exact"),
        (cfg.micro_batches > 1, "micro-batches hold one graph at a time: take --micro-batches 1"),
    ):
        refuse_ignored(cfg, "keep_graphs", ignored, why)


def _require_read(cfg: DlfTeachingConfig) -> None:
    """Refuse options of candidates that the measure does not read."""
    with naming_options({"measure": "--measure"}):
        name, _ = MEASURES.parse(cfg.measure)
    if not MEASURES[name].differentiable and cfg.estimator in ("reverse", "two_unrolls"):
        raise InputError(
            f"--measure {name} has no gradient, which --estimator {cfg.estimator} needs: take forward_differences, or "
            "another measure"
        )
    for setting, option in _CANDIDATES.items():
        default = DlfTeachingConfig.__dataclass_fields__[option].default
        if setting not in MEASURES[name].reads and getattr(cfg, option) != default:
            raise InputError(
                f"{option_of(option)} {getattr(cfg, option)} would be ignored, for --measure {name} does not read it: "
                "leave it out"
            )


def require_several(shares: bool, workers: int) -> None:
    """Refuse to share episodes if there is only one worker.

    Raises:
        InputError: naming the option.
    """
    if shares and workers == 1:
        raise InputError("--share-episodes was given, but one worker trains alone: leave it out, or start several")


def require_alone(cfg: DlfTeachingConfig, workers: Workers) -> None:
    """Refuse several workers to an estimator that keeps the teacher's memory in its process.

    Raises:
        InputError: naming the option.
    """
    if learns_from(ESTIMATORS[ESTIMATORS.parse(cfg.estimator)[0]]) is SteppingTeacher and workers.number > 1:
        raise InputError(
            f"--estimator {cfg.estimator} moves the teacher's Φ in its own process, of which there are "
            f"{workers.number}: start one worker"
        )


def require_equal_shares(cfg: DlfTeachingConfig, workers: Workers, members: int) -> None:
    """Refuse updates that teach some members of a population more often than others.

    Raises:
        InputError: naming the option.
    """
    number = 1 if workers.shared else workers.number
    for turns in cfg.update_freq or [1]:
        if turns * number % members:
            raise InputError(
                f"--student names {members} students, but an update has {turns * number} episodes (--update-freq "
                f"{turns}, {number} at a time), which cannot teach each equally often: pass --update-freq "
                f"{members // math.gcd(members, number)} or a multiple of it"
            )


def require_kept(ways: Sequence[str], workers: Workers) -> None:
    """Refuse members that go on where they ended if a checkpoint, which the first worker writes, would lack some.

    Raises:
        InputError: naming the option.
    """
    if "continue" in ways and len(ways) > 1 and workers.number > 1 and not workers.shared:
        raise InputError(
            f"--student-start continue keeps each of {len(ways)} students where it is taught, but of {workers.number} "
            f"workers a checkpoint holds the first one's only: start the students warm or fresh, or pass --update-freq "
            f"{len(ways)} to one worker"
        )


def _require_folder(cfg: DlfTeachingConfig) -> None:
    folder = cfg.trajectory_dir
    if folder is not None and str(cfg.trajectory_storage) == "disk" and not (folder and Path(folder).is_dir()):
        raise MissingFileError(
            f"the folder {folder or repr(folder)} for the trajectory does not exist: make it, or name another with "
            "--trajectory-dir"
        )
