"""Options of the task `dlf_teaching`."""

from dataclasses import dataclass, field
from typing import List, Optional

from fairseq.dataclass import ChoiceEnum
from fairseq.tasks.translation import TranslationConfig
from omegaconf import II

from fairseq_dlf.core.hypergradient.curvature import CENTRAL_STEP, FORWARD_STEP
from fairseq_dlf.core.teaching.estimators import ESTIMATORS
from fairseq_dlf.core.teaching.forms import FORMS
from fairseq_dlf.translation.bleu.expected import ExpectedBleuConfig
from fairseq_dlf.translation.measures import MEASURES
from fairseq_dlf.translation.regularisers import REGULARISERS

MOMENTUM, BETAS, ADAM_EPSILON = 0.9, (0.9, 0.999), 1e-8


@dataclass
class DlfTeachingConfig(TranslationConfig, ExpectedBleuConfig):
    student: Optional[str] = field(
        default=None,
        metadata={
            "help": "checkpoint of the student that episodes start from; several with commas between are a population, "
            "whose members the episodes of an update teach in turn; warm:, fresh: or continue: before a checkpoint is "
            "its own --student-start"
        },
    )
    student_start: ChoiceEnum(["warm", "fresh", "continue"]) = field(
        default="warm",
        metadata={
            "help": "where an episode starts: the checkpoint (warm, the paper's way in translation), "
            "new random weights of its architecture (fresh), or where the last episode ended (continue)"
        },
    )
    student_steps: int = field(default=200, metadata={"help": "T, number of student updates in an episode"})
    truncate: int = field(
        default=0, metadata={"help": "K: go back through the last K steps only; 0 goes through the whole episode"}
    )
    student_optimizer: ChoiceEnum(["sgd", "momentum", "nesterov", "adam", "adamw"]) = field(
        default="sgd", metadata={"help": "update rule of the student in episodes"}
    )
    student_momentum: Optional[float] = field(
        default=None, metadata={"help": f"momentum of momentum and nesterov, by default {MOMENTUM:g}"}
    )
    student_beta1: Optional[float] = field(
        default=None, metadata={"help": f"decay of Adam's mean of gradients, by default {BETAS[0]:g}"}
    )
    student_beta2: Optional[float] = field(
        default=None, metadata={"help": f"decay of Adam's mean of squared gradients, by default {BETAS[1]:g}"}
    )
    student_adam_eps: Optional[float] = field(
        default=None, metadata={"help": f"epsilon of Adam, by default {ADAM_EPSILON:g}"}
    )
    student_adam_eps_root: Optional[float] = field(
        default=None,
        metadata={
            "help": "epsilon inside Adam's root, which keeps long unrolls stable; 0 by default; train the taught "
            "student with --optimizer dlf_adam and the same --adam-eps-root"
        },
    )
    student_lr: float = field(default=0.1, metadata={"help": "learning rate of the student (paper, section 5.2: 0.1)"})
    student_lr_scheduler: str = field(
        default="fixed", metadata={"help": "one of fairseq's schedules, for the student's rate within an episode"}
    )
    student_lr_options: str = field(
        default="", metadata={"help": "options of the schedule: name=value,name=value, such as warmup_updates=100"}
    )
    student_clip_norm: float = field(
        default=0.0, metadata={"help": "clip the student's gradient to this norm; 0 disables clipping"}
    )
    student_weight_decay: float = field(default=0.0, metadata={"help": "weight decay of the student"})
    student_decoupled_decay: bool = field(
        default=False,
        metadata={"help": "apply the decay to the weights directly, not through the gradient (adamw always does)"},
    )
    student_dropout: Optional[float] = field(
        default=None, metadata={"help": "dropout in episodes; by default the checkpoint's own"}
    )
    student_precision: ChoiceEnum(["float32", "bf16"]) = field(
        default="float32",
        metadata={"help": "bf16 autocasts the student's forward pass; parameters and cotangents stay float32"},
    )
    curvature: ChoiceEnum(["exact", "central", "forward"]) = field(
        default="exact",
        metadata={"help": "second-order products: by double backward, or by differences of gradients (cheaper)"},
    )
    micro_batches: int = field(
        default=1,
        metadata={
            "help": "cut the student's batches in episodes into so many parts and hold the graph of one at a time, "
            "which divides the memory of exact products"
        },
    )
    difference_step: Optional[float] = field(
        default=None,
        metadata={
            "help": "step of the differences, relative to the norm of the parameters; by default "
            f"{CENTRAL_STEP:g} for central and {FORWARD_STEP:g} for forward"
        },
    )
    allow_kinks: str = field(
        default="", metadata={"help": "take differences in spite of these kinks, by name: relu,max,…"}
    )
    guard_every: int = field(
        default=100,
        metadata={
            "help": "episodes between two comparisons of the products with exact ones; 0 compares before the "
            "first episode only"
        },
    )
    clip_cotangent: float = field(
        default=0.0, metadata={"help": "bound the norm of the cotangent in the reverse pass; 0 disables the bound"}
    )
    log_cotangent_every: int = field(
        default=0, metadata={"help": "steps between logged norms of the cotangent; 0 takes a tenth of the horizon"}
    )
    trajectory: ChoiceEnum(["everything", "checkpoints"]) = field(
        default="everything",
        metadata={"help": "keep every student state, or every K-th (--checkpoint-every) and recompute"},
    )
    checkpoint_every: int = field(
        default=0, metadata={"help": "steps between kept states; 0 takes the square root of the horizon"}
    )
    trajectory_memory: Optional[str] = field(
        default=None,
        metadata={
            "help": "memory for kept states, such as 2GiB or 500MB; they are placed so that the fewest "
            "steps are recomputed (and for graphs with --keep-graphs)"
        },
    )
    keep_graphs: bool = field(
        default=False,
        metadata={
            "help": "keep the graphs of the last steps in what the states of all steps leave of --trajectory-memory: "
            "exact products of these steps cost about a training step less"
        },
    )
    trajectory_storage: ChoiceEnum(["device", "host", "disk"]) = field(
        default="device", metadata={"help": "where states are kept: with the student, in host memory, or on disk"}
    )
    trajectory_dir: Optional[str] = field(
        default=None,
        metadata={"help": "folder for --trajectory-storage disk; by default the system's for temporary files"},
    )
    share_episodes: bool = field(
        default=False,
        metadata={
            "help": "several workers run one episode together, each with a part of every batch, instead of one "
            "episode each"
        },
    )
    measure: str = field(
        default="reweighted_bleu",
        metadata={"help": f"measure on dev, which teaching raises: {', '.join(MEASURES)}"},
    )
    measure_sentences: int = field(
        default=128,
        metadata={"help": "number of dev sentences for the measure, drawn anew for each episode; 0 uses all"},
    )
    greedy_sentences: int = field(
        default=0, metadata={"help": "number of dev sentences for greedy BLEU at validation; 0 uses all"}
    )
    progress_sentences: int = field(
        default=200, metadata={"help": "number of sentences of train, and of dev, for the BLEU in s_t; 0 uses all"}
    )
    progress_interval: int = field(
        default=0,
        metadata={
            "help": "updates between two measurements of the BLEU in s_t; 0 measures at the start of the episode only"
        },
    )
    episodes_per_epoch: int = field(
        default=10,
        metadata={
            "help": "episodes between two validations of the teacher, rounded up to as many for each worker and student"
        },
    )
    collapse_share: float = field(
        default=0.5,
        metadata={"help": "an episode has collapsed when the measure falls below this share of its start"},
    )
    form: str = field(default="diagonal", metadata={"help": f"form of Φ: {', '.join(FORMS)}"})
    regularisers: str = field(
        default="",
        metadata={
            "help": "regularisers beside the dynamic loss, whose weights the teacher chooses as well: "
            f"{', '.join(REGULARISERS)}; several with commas, each with the weight before teaching, as in "
            "r_drop(start=0.3),label_smoothing"
        },
    )
    estimator: str = field(
        default="reverse", metadata={"help": f"estimator of the teacher's gradient: {', '.join(ESTIMATORS)}"}
    )
    ce_share: float = field(
        default=0.0,
        metadata={"help": "share of plain cross-entropy in the student's loss, from 0 (the paper's loss) to 1"},
    )
    label_smoothing: float = field(default=0.0, metadata={"help": "label smoothing within the share of cross-entropy"})
    seed: int = II("common.seed")
    valid_subset: str = II("dataset.valid_subset")
    max_update: int = II("optimization.max_update")
    update_freq: List[int] = II("optimization.update_freq")
    max_epoch: int = II("optimization.max_epoch")
    lr: List[float] = II("optimization.lr")
    batch_size: Optional[int] = II("dataset.batch_size")
    max_tokens: Optional[int] = II("dataset.max_tokens")
