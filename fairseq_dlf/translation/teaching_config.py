"""Options of the task `dlf_teaching`."""

from dataclasses import dataclass, field
from typing import List, Optional

from fairseq.dataclass import ChoiceEnum
from fairseq.tasks.translation import TranslationConfig
from omegaconf import II

from fairseq_dlf.translation.translation_task import ExpectedBleuConfig


@dataclass
class DlfTeachingConfig(TranslationConfig, ExpectedBleuConfig):
    student: Optional[str] = field(
        default=None, metadata={"help": "checkpoint of the student that episodes start from"}
    )
    student_start: ChoiceEnum(["warm", "fresh", "continue"]) = field(
        default="warm",
        metadata={
            "help": "where an episode starts: the checkpoint (warm, the paper's way in translation), "
            "new random weights of its architecture (fresh), or where the last episode ended (continue)"
        },
    )
    student_steps: int = field(default=200, metadata={"help": "T, student updates in an episode"})
    truncate: int = field(
        default=0, metadata={"help": "K: go back through the last K steps only; 0 is the full horizon"}
    )
    student_optimizer: ChoiceEnum(["sgd", "momentum"]) = field(
        default="sgd", metadata={"help": "update rule of the student in episodes"}
    )
    student_momentum: float = field(default=0.9, metadata={"help": "momentum with --student-optimizer momentum"})
    student_lr: float = field(default=0.1, metadata={"help": "learning rate of the student (paper, section 5.2: 0.1)"})
    student_clip_norm: float = field(
        default=0.0, metadata={"help": "clip the student's gradient to this norm; 0 does not"}
    )
    student_weight_decay: float = field(default=0.0, metadata={"help": "weight decay of the student"})
    student_dropout: Optional[float] = field(
        default=None, metadata={"help": "dropout in episodes; by default the checkpoint's own"}
    )
    trajectory: ChoiceEnum(["everything", "checkpoints"]) = field(
        default="everything",
        metadata={"help": "keep every student state, or every K-th (--checkpoint-every) and recompute"},
    )
    checkpoint_every: int = field(
        default=0, metadata={"help": "steps between kept states; 0 takes the square root of T"}
    )
    measure_sentences: int = field(
        default=128,
        metadata={"help": "dev sentences, drawn anew for each episode, of expected BLEU; 0 is all"},
    )
    greedy_sentences: int = field(default=0, metadata={"help": "dev sentences of greedy BLEU at validation; 0 is all"})
    progress_sentences: int = field(
        default=200, metadata={"help": "sentences of train, and of dev, for the BLEU in s_t; 0 is all"}
    )
    episodes_per_epoch: int = field(default=10, metadata={"help": "episodes between two validations of the teacher"})
    collapse_share: float = field(
        default=0.5,
        metadata={"help": "an episode has collapsed when expected BLEU falls under this share of its start"},
    )
    ce_share: float = field(
        default=0.0,
        metadata={"help": "share of plain cross-entropy in the student's loss, 0 (the paper) to 1"},
    )
    label_smoothing: float = field(default=0.0, metadata={"help": "label smoothing within the share of cross-entropy"})
    seed: int = II("common.seed")
    valid_subset: str = II("dataset.valid_subset")
    max_update: int = II("optimization.max_update")
    max_epoch: int = II("optimization.max_epoch")
    lr: List[float] = II("optimization.lr")


def require_options(cfg: DlfTeachingConfig) -> None:
    """Raises ValueError for an option that is missing or out of range, where no other part checks it."""
    if not cfg.student:
        raise ValueError(
            "--task dlf_teaching needs --student CHECKPOINT, the student that episodes start from; train one "
            "with --criterion label_smoothed_cross_entropy first"
        )
    if not cfg.student_lr > 0:
        raise ValueError(f"--student-lr is {cfg.student_lr}, but must be positive")
    for name in ("measure_sentences", "greedy_sentences", "progress_sentences", "checkpoint_every"):
        if getattr(cfg, name) < 0:
            raise ValueError(f"--{name.replace('_', '-')} is {getattr(cfg, name)}, but must not be negative")
    if cfg.episodes_per_epoch < 1:
        raise ValueError(f"--episodes-per-epoch is {cfg.episodes_per_epoch}, but must be at least 1")
