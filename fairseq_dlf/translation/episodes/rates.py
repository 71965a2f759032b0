"""The student's learning rate at each step of an episode, from any of fairseq's schedules."""

from argparse import Namespace
from dataclasses import fields
from typing import Any, List

import torch
from fairseq.optim.lr_scheduler import LR_SCHEDULER_REGISTRY
from fairseq.optim.sgd import SGD

from fairseq_dlf.core.support.errors import InputError, brief

# They follow the dev loss, a file of the run, or the optimiser, which an episode does not have.
_UNFIT = {"reduce_lr_on_plateau", "manual", "pass_through"}


def student_rates(scheduler: str, options: str, rate: float, steps: int, epoch_steps: int) -> List[float]:
    """η_t for t = 0 … T − 1.

    Args:
        scheduler: a name of fairseq's `--lr-scheduler`.
        options: its options as `name=value,name=value`, for example `warmup_updates=100`.
        rate: the student's (highest) learning rate.
        steps: T, which also bounds schedules that want the length of the run.
        epoch_steps: batches of an epoch, for schedules that change by epoch.

    Raises:
        InputError: unknown schedule or option.
    """
    built = _scheduler(scheduler, options, rate, steps)
    rates = []
    for step in range(steps):
        if step % epoch_steps == 0:
            built.step_begin_epoch(1 + step // epoch_steps)
        rates.append(float(built.step_update(step)))
    return rates


def _scheduler(name: str, options: str, rate: float, steps: int) -> Any:
    known = sorted(set(LR_SCHEDULER_REGISTRY) - _UNFIT)
    if name not in known:
        raise InputError(f"the student's schedule is {name}, but must be one of {', '.join(known)}", setting="schedule")
    kind = LR_SCHEDULER_REGISTRY[name]
    cfg = Namespace(**_defaults(kind))
    cfg.lr = [rate]
    for length in ("max_update", "total_num_update"):
        if hasattr(cfg, length):
            setattr(cfg, length, steps)
    for option in filter(None, options.split(",")):
        key, _, value = option.partition("=")
        if key == "lr" or not hasattr(cfg, key):
            raise InputError(
                f"the schedule's options have {option!r}, but {name} takes "
                f"{', '.join(sorted(set(vars(cfg)) - {'lr'}))}; write them as name=value,name=value",
                setting="schedule_options",
            )
        setattr(cfg, key, _number(option, value))
    missing = sorted(key for key, value in vars(cfg).items() if value == "???")
    if missing:
        raise InputError(
            f"the schedule {name} needs the options {','.join(f'{key}=…' for key in missing)}",
            setting="schedule_options",
        )
    weight = torch.nn.Parameter(torch.zeros(1))
    try:
        return kind(cfg, SGD(Namespace(lr=[rate], momentum=0.0, weight_decay=0.0), [weight]))
    except (AssertionError, InputError) as error:
        text = f"the options {options!r} do not suit the schedule {name}: {brief(error)}"
        raise InputError(text, setting="schedule_options") from error


def _defaults(kind: Any) -> dict[str, Any]:
    """A schedule's options; those that refer to other parts of fairseq's configuration are 0."""
    default = getattr(kind, "__dataclass")()  # noqa: B009
    values = {field.name: getattr(default, field.name) for field in fields(default) if field.name != "_name"}
    return {name: 0 if str(value).startswith("${") else value for name, value in values.items()}


def _number(option: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        text = f"the schedule's options have {option!r}, whose value is not a number"
        raise InputError(text, setting="schedule_options") from error
    return int(value) if value == int(value) else value
