"""Schedules of students' learning rates: `dlf_linear_tail`, constant at first and falling linearly at the end."""

from dataclasses import dataclass, field
from typing import Any, List

from fairseq.dataclass import FairseqDataclass
from fairseq.optim import FairseqOptimizer
from fairseq.optim.lr_scheduler import FairseqLRScheduler, register_lr_scheduler
from omegaconf import II

from fairseq_dlf.core.support.checks import require_at_least, require_between, require_positive
from fairseq_dlf.core.support.errors import InputError


@dataclass
class LinearTailConfig(FairseqDataclass):
    tail_share: float = field(
        default=1 / 3, metadata={"help": "share of --max-update, at its end, over which the rate falls"}
    )
    final_lr_share: float = field(default=0.05, metadata={"help": "rate after the last update, as a share of --lr"})
    warmup_updates: int = field(
        default=0, metadata={"help": "raise the rate linearly over the first N updates; 0 does not"}
    )
    max_update: int = II("optimization.max_update")
    lr: List[float] = II("optimization.lr")


@register_lr_scheduler("dlf_linear_tail", dataclass=LinearTailConfig)
class LinearTail(FairseqLRScheduler):
    """A constant rate that falls linearly over the last part of a run.

    Of U updates, the one after u completed ones is made with the rate
    lr · [φ + (1 − φ) · min(1, (U − u) / (τ U))], where τ is the tail's share and φ the share of the rate that
    is left in the end; while the rate warms up over N updates, also times (u + 1) / N. The rate depends
    on u alone, so that a resumed run has those of a straight one.

    Raises:
        InputError: an option is out of range, `--max-update` is not given, or several rates are.
    """

    def __init__(self, cfg: Any, optimizer: FairseqOptimizer):
        super().__init__(cfg, optimizer)
        require_positive(tail_share=cfg.tail_share)
        require_between(0.0, 1.0, tail_share=cfg.tail_share, final_lr_share=cfg.final_lr_share)
        require_at_least(0, warmup_updates=cfg.warmup_updates)
        if cfg.max_update <= 0:
            raise InputError("dlf_linear_tail falls at the end of the run, whose length is unknown: pass --max-update")
        if len(cfg.lr) != 1:
            raise InputError(f"dlf_linear_tail takes one learning rate, but --lr has {len(cfg.lr)}")
        self.step_update(0)

    def rate(self, updates: int) -> float:
        """Return the rate of the next update after so many completed ones."""
        cfg = self.cfg
        left = max(0.0, cfg.max_update - updates) / (cfg.tail_share * cfg.max_update)
        share = cfg.final_lr_share + (1.0 - cfg.final_lr_share) * min(1.0, left)
        risen = min(1.0, (updates + 1) / cfg.warmup_updates) if cfg.warmup_updates else 1.0
        return float(cfg.lr[0] * share * risen)

    def step_update(self, num_updates: int) -> float:
        """Set the rate of the next update, and return it."""
        self.optimizer.set_lr(self.rate(num_updates))
        return float(self.optimizer.get_lr())
