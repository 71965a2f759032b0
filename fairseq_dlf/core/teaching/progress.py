"""The student's progress s_t, which the teacher sees (paper, section 3.3)."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from fairseq_dlf.core.support.errors import InputError


def progress_vector(features: Sequence[str], values: Mapping[str, float]) -> Tensor:
    """Return s_t in the order of `features`: (features,), float32, each in [0, 1].

    Raises:
        InputError: the names differ, or a value lies outside [0, 1].
    """
    if set(features) != set(values):
        raise InputError(f"progress has features {sorted(values)}, the teacher wants {list(features)}")
    vector = torch.tensor([float(values[name]) for name in features])
    require_normalised(vector, features)
    return vector


def require_normalised(values: Tensor, features: Sequence[str] | None = None) -> None:
    """Raise InputError unless all values lie in [0, 1].

    Args:
        values: (features,), float.
        features: their names, for the message.
    """
    for place, value in enumerate(values.tolist()):
        if not 0.0 <= value <= 1.0:
            name = features[place] if features is not None else f"number {place}"
            raise InputError(f"progress feature {name} is {value}, but must be normalised to [0, 1]")
