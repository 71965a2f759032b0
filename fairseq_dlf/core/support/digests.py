"""Short digests that identify files and tensors."""

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

DIGITS = 8


def digest(content: bytes | str, digits: int = DIGITS) -> str:
    """Return the first hex digits of SHA-256."""
    raw = content.encode() if isinstance(content, str) else content
    return hashlib.sha256(raw).hexdigest()[:digits]


def tensor_digest(tensors: Iterable["Tensor"], digits: int = DIGITS) -> str:
    """Return the first hex digits of SHA-256 over the bytes of tensors of any dtype, in order.

    Shapes and dtypes do not enter the digest.

    Cost: a copy of each tensor in turn.
    """
    import torch  # takes seconds, which texts do not need

    total = hashlib.sha256()
    for tensor in tensors:
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        total.update(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    return total.hexdigest()[:digits]
