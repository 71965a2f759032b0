"""The paper's teacher: Φ = W softmax(V s)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fairseq_dlf.core.support.checks import require_at_least
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.teaching.teachers.teacher import TEACHERS, Memory, Teacher

KEY_SCALE = 0.1


@TEACHERS.register("attention")
class AttentionTeacher(Teacher):
    """Attention over N keys: Φ = W softmax(V s) (paper, section 3.3).

    Args:
        values: W, (coefficients, N), float.
        keys: V, (N, features), float.

    Raises:
        InputError: the matrices do not fit, or are not finite.
    """

    def __init__(self, values: Tensor, keys: Tensor):
        super().__init__()
        matrices = values.dim() == keys.dim() == 2 and values.is_floating_point() and keys.is_floating_point()
        if not matrices or values.size(1) != keys.size(0) or min(*values.shape, *keys.shape) < 1:
            raise InputError(
                f"teacher tensors of shapes values {tuple(values.shape)} and keys {tuple(keys.shape)} do not "
                "fit: wanted float matrices (coefficients, N) and (N, features), none of them empty"
            )
        if not (values.isfinite().all() and keys.isfinite().all()):
            raise InputError("the teacher's parameters are not all finite: its training has diverged")
        self.values = nn.Parameter(values.detach().clone())
        self.keys = nn.Parameter(keys.detach().clone())

    @classmethod
    def untaught(  # type: ignore[override]
        cls, neutral: Tensor, features: int, keys: int = 5, key_scale: float = KEY_SCALE
    ) -> "AttentionTeacher":
        """Return a teacher with Φ = `neutral` for every s.

        Every column of W is `neutral`, while V is random: if both factors were zero, both gradients
        would be zero, and the teacher would never move.

        Args:
            neutral: (coefficients,).
            features: length of s.
            keys: N (paper: 5 in translation, 10 for images).
            key_scale: standard deviation of V. The larger it is, the more the columns of W differ
                in the s to which they respond, and so in their gradients.
        """
        require_at_least(1, keys=keys)
        values = neutral.detach().unsqueeze(1).repeat(1, keys)
        return cls(values, key_scale * torch.randn(keys, features, dtype=neutral.dtype))

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "AttentionTeacher":
        missing = {"values", "keys"} - set(tensors)
        if missing:
            raise InputError(f"a teacher needs the tensors 'keys' and 'values'; missing: {sorted(missing)}")
        return cls(tensors["values"], tensors["keys"])

    @property
    def coefficients(self) -> int:
        return self.values.size(0)

    @property
    def features(self) -> int:
        return self.keys.size(1)

    def bound(self, low: Tensor, high: Tensor) -> None:
        # Φ is a mean of W's columns.
        with torch.no_grad():
            self.values.clamp_(low.unsqueeze(1), high.unsqueeze(1))

    def forward(self, progress: Tensor, memory: Memory = ()) -> tuple[Tensor, Memory]:
        return torch.softmax(progress @ self.keys.t(), dim=-1) @ self.values.t(), memory
