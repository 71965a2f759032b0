"""The teacher μ_θ: from the student's progress to loss coefficients, Φ = W softmax(V s)."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

KEY_SCALE = 0.1


class TeacherSizes(NamedTuple):
    """Sizes that fix the shape of a teacher's parameters."""

    coefficients: int
    keys: int
    features: int


class Teacher(nn.Module):
    """Attention over N keys: Φ = W softmax(V s) (paper, section 3.3).

    W (`values`) is (coefficients, keys), V (`keys`) is (keys, features). Every
    column of W starts as `initial`, so that Φ = `initial` for every s, while V
    starts small but random: with both factors at zero the gradient of both is
    zero and the teacher never moves.

    Args:
        initial: Φ at the start, (coefficients,); flatten a matrix Φ.
        features: length of s, at least 1.
        keys: N, at least 1.
    """

    def __init__(self, initial: Tensor, features: int, keys: int):
        super().__init__()
        if initial.dim() != 1 or initial.numel() == 0:
            raise ValueError(f"initial coefficients have shape {tuple(initial.shape)}, wanted a non-empty vector")
        for name, size in (("features", features), ("keys", keys)):
            if size < 1:
                raise ValueError(f"the teacher got {size} {name}, but needs at least 1")
        self.values = nn.Parameter(initial.detach().clone().unsqueeze(1).repeat(1, keys))
        self.keys = nn.Parameter(KEY_SCALE * torch.randn(keys, features, dtype=initial.dtype))

    @property
    def sizes(self) -> TeacherSizes:
        return TeacherSizes(self.values.size(0), *self.keys.shape)

    def forward(self, progress: Tensor) -> Tensor:
        """Coefficients for progress vectors: (..., features) → (..., coefficients)."""
        return torch.softmax(progress @ self.keys.t(), dim=-1) @ self.values.t()

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "Teacher":
        """A teacher with these `values` and `keys`.

        Raises:
            ValueError: a tensor is missing, is not a float matrix, disagrees with
                the other or is not finite.
        """
        missing = {"values", "keys"} - set(tensors)
        if missing:
            raise ValueError(f"a teacher needs the tensors 'keys' and 'values'; missing: {sorted(missing)}")
        values, keys = tensors["values"], tensors["keys"]
        matrices = values.dim() == keys.dim() == 2 and values.is_floating_point() and keys.is_floating_point()
        if not matrices or values.size(1) != keys.size(0):
            raise ValueError(
                f"teacher tensors of shapes values {tuple(values.shape)} and keys {tuple(keys.shape)} do not "
                "fit: wanted float matrices (coefficients, N) and (N, features)"
            )
        if not (values.isfinite().all() and keys.isfinite().all()):
            raise ValueError("the teacher's parameters are not all finite: its training has diverged")
        teacher = cls(values[:, 0], features=keys.size(1), keys=keys.size(0))
        with torch.no_grad():
            teacher.values.copy_(values)
            teacher.keys.copy_(keys)
        return teacher
