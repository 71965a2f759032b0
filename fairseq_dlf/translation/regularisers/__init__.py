"""Regularisers whose weights a teacher chooses, one file each; importing this package registers them all."""

from fairseq_dlf.translation.regularisers.label_smoothing import LabelSmoothing
from fairseq_dlf.translation.regularisers.loss import WEIGHT, Regularised, RegularisedLoss, bounds_of, start_of
from fairseq_dlf.translation.regularisers.r_drop import RDrop
from fairseq_dlf.translation.regularisers.regulariser import REGULARISERS, Predictions, Regulariser, Regularisers
from fairseq_dlf.translation.regularisers.self_distillation import SelfDistillation

__all__ = [
    "REGULARISERS",
    "WEIGHT",
    "LabelSmoothing",
    "Predictions",
    "RDrop",
    "Regularised",
    "RegularisedLoss",
    "Regulariser",
    "Regularisers",
    "SelfDistillation",
    "bounds_of",
    "start_of",
]
