"""What the options of `dlf_teaching` ask of an episode, as objects of the core."""

import tempfile
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, Callable, ContextManager, Iterator, Optional

import torch

from fairseq_dlf.core.hypergradient.curvature import CentralDifference, Curvature, Exact, ForwardDifference
from fairseq_dlf.core.hypergradient.episode import EpisodePlan
from fairseq_dlf.core.hypergradient.probe import twice_differentiable
from fairseq_dlf.core.hypergradient.schedules import Checkpoints, Everything, Schedule
from fairseq_dlf.core.hypergradient.storage import OnDevice, OnDisk, OnHost, StorageMaker
from fairseq_dlf.core.hypergradient.trajectory import TrajectoryPlan
from fairseq_dlf.core.hypergradient.update_rules import SGD, Adam, UpdateRule
from fairseq_dlf.core.support.byte_sizes import human_size, size_in_bytes
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.teaching.estimators import ESTIMATORS, Estimator
from fairseq_dlf.translation.episodes.config import ADAM_EPSILON, BETAS, MOMENTUM, DlfTeachingConfig

# Options by the name of the core's setting, for the messages of errors.
OPTIONS = {
    "allowed": "--allow-kinks",
    "beta1": "--student-beta1",
    "beta2": "--student-beta2",
    "candidate_method": "--candidate-method",
    "candidates": "--candidates",
    "ce_share": "--ce-share",
    "checkpoint_every": "--checkpoint-every",
    "clip_norm": "--student-clip-norm",
    "collapse_share": "--collapse-share",
    "cotangent_clip": "--clip-cotangent",
    "curvature": "--curvature exact, --difference-step, --student-precision",
    "dropout": "--student-dropout 0",
    "epsilon": "--student-adam-eps",
    "epsilon_root": "--student-adam-eps-root",
    "estimator": "--estimator",
    "every": "--checkpoint-every",
    "form": "--form",
    "graphs": "--keep-graphs",
    "key_scale": "--teacher-key-scale",
    "keys": "--teacher-keys",
    "label_smoothing": "--label-smoothing",
    "measure": "--measure",
    "momentum": "--student-momentum",
    "regulariser": "--regularisers",
    "relative_step": "--difference-step",
    "schedule": "--student-lr-scheduler",
    "schedule_options": "--student-lr-options",
    "sharpness": "--candidate-sharpness",
    "steps": "--student-steps",
    "teacher": "--teacher-kind",
    "trajectory_folder": "--trajectory-dir",
    "trajectory_memory": "--trajectory-memory",
    "truncation": "--truncate",
    "weight_decay": "--student-weight-decay",
}


def update_rule(cfg: DlfTeachingConfig) -> UpdateRule:
    """The student's rule."""
    name = str(cfg.student_optimizer)
    decay: dict[str, Any] = {
        "clip_norm": cfg.student_clip_norm,
        "weight_decay": cfg.student_weight_decay,
        "decoupled": cfg.student_decoupled_decay or name == "adamw",
    }
    if name in ("adam", "adamw"):
        root = _given(cfg.student_adam_eps_root, 0.0)
        return Adam(_betas(cfg), _given(cfg.student_adam_eps, ADAM_EPSILON), epsilon_root=root, **decay)
    momentum = 0.0 if name == "sgd" else _given(cfg.student_momentum, MOMENTUM)
    return SGD(momentum, nesterov=name == "nesterov", **decay)


def _given(value: Optional[float], default: float) -> float:
    return default if value is None else value


def _betas(cfg: DlfTeachingConfig) -> tuple[float, float]:
    return _given(cfg.student_beta1, BETAS[0]), _given(cfg.student_beta2, BETAS[1])


def curvature(cfg: DlfTeachingConfig) -> Curvature:
    """The way to second-order products."""
    name = str(cfg.curvature)
    if name == "exact":
        return Exact(reuses_gradients=cfg.micro_batches > 1 and update_rule(cfg).reads_gradient)
    way = CentralDifference if name == "central" else ForwardDifference
    return way() if cfg.difference_step is None else way(cfg.difference_step)


def episode_plan(cfg: DlfTeachingConfig, way: Curvature, record_bytes: int) -> EpisodePlan:
    """How episodes are run.

    Args:
        way: to second-order products.
        record_bytes: the size of what is kept of one step.

    Raises:
        InputError: an option is out of range, or two contradict each other.
    """
    return EpisodePlan(
        cfg.student_steps,
        cfg.truncate,
        way,
        trajectory_plan(cfg, record_bytes),
        cfg.clip_cotangent,
        cfg.collapse_share,
    )


def estimator_of(cfg: DlfTeachingConfig, plan: EpisodePlan) -> Estimator:
    """The way to the gradient of θ.

    Raises:
        InputError: there is no estimator of that name, or it has no such option.
    """
    return ESTIMATORS.make(cfg.estimator, plan=plan)


def takes_differences(cfg: DlfTeachingConfig) -> bool:
    return str(cfg.curvature) != "exact"


def student_context(
    cfg: DlfTeachingConfig, device: torch.device, products: bool = True
) -> Callable[[], ContextManager]:
    """The context of the student's forwards: fused kernels are off for exact products only, bf16 casts.

    Args:
        products: whether the estimator takes second-order products.
    """
    kernels = twice_differentiable if products and not takes_differences(cfg) else nullcontext
    if str(cfg.student_precision) == "float32":
        return kernels

    @contextmanager
    def context() -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(kernels())
            stack.enter_context(torch.autocast(device.type, dtype=torch.bfloat16))
            yield

    return context


def trajectory_plan(cfg: DlfTeachingConfig, record_bytes: int) -> TrajectoryPlan:
    """Which states are kept, and where.

    Args:
        record_bytes: the size of what is kept of one step.

    Raises:
        InputError: the memory asked for holds no step, or two options contradict each other.
    """
    make_storage = _storage(cfg)
    if cfg.trajectory_memory is not None:
        if cfg.checkpoint_every or str(cfg.trajectory) == "checkpoints":
            raise InputError(
                "the memory for the trajectory places the kept states itself: give it without a schedule of "
                "checkpoints",
                setting="trajectory_memory",
            )
        return TrajectoryPlan.within(size_in_bytes(cfg.trajectory_memory), record_bytes, make_storage)
    return TrajectoryPlan(_schedule(cfg), make_storage)


def with_graphs(
    cfg: DlfTeachingConfig, plan: EpisodePlan, record_bytes: int, measured: Callable[[], int]
) -> EpisodePlan:
    """Return the plan that keeps graphs in what the states leave of the memory.

    Args:
        record_bytes: the size of what is kept of one step besides the graph.
        measured: gives the size of one step's graph; called only if states leave memory.

    Raises:
        InputError: not one graph fits.
    """
    memory, horizon = size_in_bytes(cfg.trajectory_memory or ""), plan.steps - plan.first
    trajectory = plan.trajectory.with_graphs(memory, record_bytes, horizon, measured)
    if not trajectory.graphs:
        raise InputError(
            f"graphs are to be kept, but beside the states of {horizon:,} steps ({human_size(horizon * record_bytes)}) "
            f"{human_size(memory)} hold none: give more, or keep no graphs",
            setting="trajectory_memory",
        )
    return replace(plan, trajectory=trajectory)


def _schedule(cfg: DlfTeachingConfig) -> Schedule:
    if str(cfg.trajectory) == "everything":
        return Everything()
    horizon = cfg.truncate or cfg.student_steps
    return Checkpoints(cfg.checkpoint_every or max(1, round(horizon**0.5)))


def _storage(cfg: DlfTeachingConfig) -> StorageMaker:
    name = str(cfg.trajectory_storage)
    if name == "disk":
        return partial(OnDisk, folder=cfg.trajectory_dir or tempfile.gettempdir())
    if cfg.trajectory_dir is not None:
        raise InputError(
            f"a folder was given for a trajectory that is kept on {name}: set its storage to disk",
            setting="trajectory_folder",
        )
    make: StorageMaker = OnDevice if name == "device" else OnHost
    return make
