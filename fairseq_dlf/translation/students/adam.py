"""fairseq's optimiser `dlf_adam`: Adam as in episodes, with an epsilon inside the root."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, List, Optional

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.optim import FairseqOptimizer, register_optimizer
from omegaconf import II
from torch import Tensor

from fairseq_dlf.core.hypergradient.update_rules import Adam, StudentState
from fairseq_dlf.translation.hooks.naming import naming_options
from fairseq_dlf.translation.hooks.run_options import pair_of

OPTIONS = {
    "beta1": "--adam-betas",
    "beta2": "--adam-betas",
    "epsilon": "--adam-eps",
    "epsilon_root": "--adam-eps-root",
    "weight_decay": "--weight-decay",
}


@dataclass
class DlfAdamConfig(FairseqDataclass):
    adam_betas: Any = field(default=(0.9, 0.999), metadata={"help": "betas of Adam"})
    adam_eps: float = field(default=1e-8, metadata={"help": "epsilon of Adam, outside the root"})
    adam_eps_root: float = field(
        default=0.0,
        metadata={"help": "epsilon inside the root, as --student-adam-eps-root of teaching; 0 is plain Adam"},
    )
    weight_decay: float = field(default=0.0, metadata={"help": "decoupled weight decay, as with fairseq's adam"})
    lr: List[float] = II("optimization.lr")


@register_optimizer("dlf_adam", dataclass=DlfAdamConfig)
class DlfAdam(FairseqOptimizer):  # type: ignore[misc]  # fairseq has no types
    """The rule by which a student is trained in episodes with `--student-adam-eps-root`, for its training alone."""

    def __init__(self, cfg: DlfAdamConfig, params: Any):
        super().__init__(cfg)
        with naming_options(OPTIONS):
            rule = Adam(
                pair_of(cfg.adam_betas),
                cfg.adam_eps,
                weight_decay=cfg.weight_decay,
                decoupled=True,
                epsilon_root=cfg.adam_eps_root,
            )
        self._optimizer = RuleOptimizer(params, rule, cfg.lr[0])

    @property
    def optimizer_config(self) -> dict[str, Any]:
        return {"lr": self.cfg.lr[0]}


class RuleOptimizer(torch.optim.Optimizer):
    """The core's Adam, tensor by tensor; its slots are saved with the checkpoint.

    Args:
        params: as for torch's optimisers.
        rule: without clipping, which is of all parameters together.
        lr: the learning rate.
    """

    def __init__(self, params: Any, rule: Adam, lr: float):
        super().__init__(params, {"lr": lr})
        self.rule = rule

    @torch.no_grad()
    def step(self, closure: Optional[Callable[[], Any]] = None) -> Any:  # type: ignore[override]
        loss = None if closure is None else closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group["lr"])
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor, rate: float) -> None:
        slots = self.state[parameter]
        if not slots:
            first, second, done = self.rule.initial(parameter).slots
            slots.update(exp_avg=first, exp_avg_sq=second, step=done)
        before = StudentState(parameter, (slots["exp_avg"], slots["exp_avg_sq"], slots["step"].cpu()))
        after = self.rule.step(before, gradient, rate)
        parameter.copy_(after.params)
        slots["exp_avg"], slots["exp_avg_sq"], slots["step"] = after.slots
