"""What the options of `dlf_teaching` ask of an episode, as objects of the core."""

import tempfile
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Callable, ContextManager, Iterator, Optional

import torch

from fairseq_dlf.core.hypergradient.curvature import CentralDifference, Curvature, Exact, ForwardDifference
from fairseq_dlf.core.hypergradient.probe import twice_differentiable
from fairseq_dlf.core.hypergradient.schedules import Checkpoints, Everything, Schedule
from fairseq_dlf.core.hypergradient.storage import OnDevice, OnDisk, OnHost, StorageMaker
from fairseq_dlf.core.hypergradient.trajectory import TrajectoryPlan
from fairseq_dlf.core.hypergradient.update_rules import SGD, Adam, UpdateRule
from fairseq_dlf.core.support.byte_sizes import size_in_bytes
from fairseq_dlf.core.support.errors import InputError, UserError
from fairseq_dlf.translation.episodes.config import ADAM_EPSILON, BETAS, MOMENTUM, DlfTeachingConfig

# Options by the name of the core's setting, for the messages of errors.
OPTIONS = {
    "allowed": "--allow-kinks",
    "beta1": "--student-beta1",
    "beta2": "--student-beta2",
    "clip_norm": "--student-clip-norm",
    "collapse_share": "--collapse-share",
    "cotangent_clip": "--clip-cotangent",
    "curvature": "--curvature exact, --difference-step, --student-precision",
    "dropout": "--student-dropout 0",
    "epsilon": "--student-adam-eps",
    "every": "--checkpoint-every",
    "momentum": "--student-momentum",
    "relative_step": "--difference-step",
    "steps": "--student-steps",
    "trajectory_folder": "--trajectory-dir",
    "trajectory_memory": "--trajectory-memory",
    "truncation": "--truncate",
    "weight_decay": "--student-weight-decay",
}


@contextmanager
def naming_options() -> Iterator[None]:
    """Name the option to turn in errors of the core that pass through."""
    try:
        yield
    except UserError as error:
        raise type(error)(error.with_option(OPTIONS), error.setting) from error


@naming_options()
def update_rule(cfg: DlfTeachingConfig) -> UpdateRule:
    """The student's rule."""
    name = str(cfg.student_optimizer)
    decay = {
        "clip_norm": cfg.student_clip_norm,
        "weight_decay": cfg.student_weight_decay,
        "decoupled": cfg.student_decoupled_decay or name == "adamw",
    }
    if name in ("adam", "adamw"):
        return Adam(_betas(cfg), _given(cfg.student_adam_eps, ADAM_EPSILON), **decay)
    momentum = 0.0 if name == "sgd" else _given(cfg.student_momentum, MOMENTUM)
    return SGD(momentum, nesterov=name == "nesterov", **decay)


def _given(value: Optional[float], default: float) -> float:
    return default if value is None else value


def _betas(cfg: DlfTeachingConfig) -> tuple[float, float]:
    return _given(cfg.student_beta1, BETAS[0]), _given(cfg.student_beta2, BETAS[1])


@naming_options()
def curvature(cfg: DlfTeachingConfig) -> Curvature:
    """The way to second-order products."""
    name = str(cfg.curvature)
    if name == "exact":
        return Exact()
    way = {"central": CentralDifference, "forward": ForwardDifference}[name]
    return way() if cfg.difference_step is None else way(cfg.difference_step)


def takes_differences(cfg: DlfTeachingConfig) -> bool:
    return str(cfg.curvature) != "exact"


def student_context(cfg: DlfTeachingConfig, device: torch.device) -> Callable[[], ContextManager]:
    """The context of the student's forwards: differences leave fused kernels on, bf16 casts."""
    kernels = nullcontext if takes_differences(cfg) else twice_differentiable
    if str(cfg.student_precision) == "float32":
        return kernels

    @contextmanager
    def context() -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(kernels())
            stack.enter_context(torch.autocast(device.type, dtype=torch.bfloat16))
            yield

    return context


@naming_options()
def trajectory_plan(cfg: DlfTeachingConfig, record_bytes: int) -> TrajectoryPlan:
    """Which states are kept, and where.

    Args:
        record_bytes: the size of what is kept of one step.

    Raises:
        ValueError: the memory asked for holds no step, or two options contradict each other.
    """
    make_storage = _storage(cfg)
    if cfg.trajectory_memory is not None:
        if cfg.checkpoint_every or str(cfg.trajectory) == "checkpoints":
            raise InputError(
                "--trajectory-memory places the kept states itself: pass it without --trajectory checkpoints "
                "and --checkpoint-every"
            )
        return TrajectoryPlan.within(size_in_bytes(cfg.trajectory_memory), record_bytes, make_storage)
    return TrajectoryPlan(_schedule(cfg), make_storage)


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
        raise InputError(f"--trajectory-dir was given, but --trajectory-storage is {name}: set it to disk")
    return {"device": OnDevice, "host": OnHost}[name]


def rule_signature(cfg: DlfTeachingConfig) -> str:
    """The student's rule in the signature: name, rate, and what differs from the plain rule."""
    name = str(cfg.student_optimizer)
    fields = [f"{name}:lr{cfg.student_lr:g}"]
    if name in ("momentum", "nesterov"):
        fields.append(f"m{_given(cfg.student_momentum, MOMENTUM):g}")
    if name in ("adam", "adamw"):
        first, second = _betas(cfg)
        fields.append(f"b{first:g},{second:g}:eps{_given(cfg.student_adam_eps, ADAM_EPSILON):g}")
    if cfg.student_lr_scheduler != "fixed" or cfg.student_lr_options:
        fields.append(f"{cfg.student_lr_scheduler}({cfg.student_lr_options})")
    fields.append(f"clip{cfg.student_clip_norm:g}:wd{cfg.student_weight_decay:g}")
    if cfg.student_decoupled_decay:
        fields.append("decoupled")
    fields.append(f"do{'ckpt' if cfg.student_dropout is None else cfg.student_dropout}")
    return ":".join(fields)


def reverse_signature(cfg: DlfTeachingConfig) -> str:
    """The reverse pass in the signature: horizon, truncation, way, and what bends the gradient."""
    fields = [f"rmd:T{cfg.student_steps}:K{cfg.truncate}:{cfg.curvature}"]
    if takes_differences(cfg):
        fields.append(f"step{curvature(cfg).relative_step:g}")
    if str(cfg.student_precision) != "float32":
        fields.append(str(cfg.student_precision))
    if cfg.clip_cotangent:
        fields.append(f"clipcot{cfg.clip_cotangent:g}")
    return ":".join(fields)
