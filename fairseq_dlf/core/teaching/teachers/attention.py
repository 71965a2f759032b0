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

    Args:
        values: W, (coefficients, N), float.
        keys: V, (N, features), float.

    Raises:
        ValueError: the matrices do not fit, or are not finite.
    """

    def __init__(self, values: Tensor, keys: Tensor):
        super().__init__()
        matrices = values.dim() == keys.dim() == 2 and values.is_floating_point() and keys.is_floating_point()
        if not matrices or values.size(1) != keys.size(0) or min(*values.shape, *keys.shape) < 1:
            raise ValueError(
                f"teacher tensors of shapes values {tuple(values.shape)} and keys {tuple(keys.shape)} do not "
                "fit: wanted float matrices (coefficients, N) and (N, features), none of them empty"
            )
        if not (values.isfinite().all() and keys.isfinite().all()):
            raise ValueError("the teacher's parameters are not all finite: its training has diverged")
        self.values = nn.Parameter(values.detach().clone())
        self.keys = nn.Parameter(keys.detach().clone())

    @classmethod
    def untaught(cls, initial: Tensor, features: int, keys: int, key_scale: float = KEY_SCALE) -> "Teacher":
        """A teacher with Φ = `initial` for every s.

        Every column of W is `initial`, while V is random: with both factors at zero the
        gradient of both would be zero, and the teacher never move.

        Args:
            initial: (coefficients,); flatten a matrix Φ.
            features: length of s.
            keys: N.
            key_scale: standard deviation of V. The larger, the more the columns of W differ in
                the s that they answer to, and with them in their gradients: small V start as one.
        """
        values = initial.detach().unsqueeze(1).repeat(1, keys)
        return cls(values, key_scale * torch.randn(keys, features, dtype=initial.dtype))

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "Teacher":
        """A teacher from its state by name; draws no random numbers.

        Raises:
            ValueError: a tensor is missing, or as in the constructor.
        """
        missing = {"values", "keys"} - set(tensors)
        if missing:
            raise ValueError(f"a teacher needs the tensors 'keys' and 'values'; missing: {sorted(missing)}")
        return cls(tensors["values"], tensors["keys"])

    @property
    def sizes(self) -> TeacherSizes:
        return TeacherSizes(self.values.size(0), *self.keys.shape)

    def bound(self, low: Tensor, high: Tensor) -> None:
        """Moves W to where low ≤ Φ ≤ high for every s: Φ is a mean of W's columns.

        Args:
            low, high: (coefficients,).
        """
        with torch.no_grad():
            self.values.clamp_(low.unsqueeze(1), high.unsqueeze(1))

    def forward(self, progress: Tensor) -> Tensor:
        """Coefficients for progress vectors: (..., features) → (..., coefficients)."""
        return torch.softmax(progress @ self.keys.t(), dim=-1) @ self.values.t()
