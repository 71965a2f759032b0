"""Losses that students minimise, one file per family; importing this package registers them all."""

from fairseq_dlf.images.losses import aucpr, cross_entropy, dynamic, large_margin, metric, smooth
from fairseq_dlf.images.losses.registry import (
    LOSSES,
    Loss,
    LossFamily,
    LossInput,
    loss_family,
    make_loss,
)

__all__ = [
    "LOSSES",
    "Loss",
    "LossFamily",
    "LossInput",
    "aucpr",
    "cross_entropy",
    "dynamic",
    "large_margin",
    "loss_family",
    "make_loss",
    "metric",
    "smooth",
]
