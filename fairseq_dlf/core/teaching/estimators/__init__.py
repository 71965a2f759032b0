"""Estimators of θ's gradient, one file each; importing this package registers them all."""

from fairseq_dlf.core.teaching.estimators.estimator import (
    ESTIMATORS,
    Estimate,
    Estimator,
    estimate,
    learns_from,
    require_match,
    takes_products,
)
from fairseq_dlf.core.teaching.estimators.forward_differences import ForwardDifferences
from fairseq_dlf.core.teaching.estimators.reinforce import Reinforce
from fairseq_dlf.core.teaching.estimators.reverse import Reverse
from fairseq_dlf.core.teaching.estimators.two_unrolls import TwoUnrolls

__all__ = [
    "ESTIMATORS",
    "Estimate",
    "Estimator",
    "ForwardDifferences",
    "Reinforce",
    "Reverse",
    "TwoUnrolls",
    "estimate",
    "learns_from",
    "require_match",
    "takes_products",
]
