"""fairseq's optimiser `dlf_rprop`: steps by the sign of the gradient, halved where a sign turns."""

from dataclasses import dataclass, field
from typing import Any, List

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.optim import FairseqOptimizer, register_optimizer
from omegaconf import II

from fairseq_dlf.core.support.errors import InputError

# torch needs a factor above 1 for signs that stay; steps are bounded by the rate they begin with.
_ABOVE_ONE = 1.0 + 1e-9
_SMALLEST_SHARE = 1e-6


@dataclass
class RpropConfig(FairseqDataclass):
    rprop_shrink: float = field(
        default=0.5, metadata={"help": "factor of a parameter's step where the sign of its gradient turns"}
    )
    lr: List[float] = II("optimization.lr")


@register_optimizer("dlf_rprop", dataclass=RpropConfig)
class Rprop(FairseqOptimizer):  # type: ignore[misc]  # fairseq has no types
    """torch.optim.Rprop whose steps begin at `--lr` and never grow: for few parameters and few, costly updates.

    Source: resilient propagation (Riedmiller and Braun 1993), as hyperparameters are updated by Micaelli and Storkey
        (2021).
    """

    def __init__(self, cfg: RpropConfig, params: Any):
        super().__init__(cfg)
        if not 0.0 < cfg.rprop_shrink < 1.0:
            raise InputError(f"--rprop-shrink is {cfg.rprop_shrink}, but must lie between 0 and 1")
        self._optimizer = torch.optim.Rprop(params, **self.optimizer_config)

    @property
    def optimizer_config(self) -> dict[str, Any]:
        rate = self.cfg.lr[0]
        return {
            "lr": rate,
            "etas": (self.cfg.rprop_shrink, _ABOVE_ONE),
            "step_sizes": (_SMALLEST_SHARE * rate, rate),
        }
