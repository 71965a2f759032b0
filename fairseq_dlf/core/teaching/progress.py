"""The student's progress s_t, which the teacher sees (paper, section 3.3)."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def progress_vector(features: Sequence[str], values: Mapping[str, float]) -> Tensor:
    """s_t in the order of `features`: (features,) float32, each in [0, 1].

    Raises:
        ValueError: the names differ, or a value lies outside [0, 1].
    """
    if set(features) != set(values):
        raise ValueError(f"progress has features {sorted(values)}, the teacher wants {list(features)}")
    for name, value in values.items():
        if not (math.isfinite(value) and 0.0 <= value <= 1.0):
            raise ValueError(f"progress feature {name} is {value}, but must be normalised to [0, 1]")
    return torch.tensor([float(values[name]) for name in features])
