"""Tensors on disk with a header: safetensors files, read without pickle."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fairseq_dlf.core.support.replacement import replacing


class TensorFile(NamedTuple):
    """What a file holds: tensors by name, on the CPU, and a header that JSON can hold."""

    tensors: dict[str, Tensor]
    header: dict[str, Any]


def write_tensor_file(path: Path, kind: str, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Writes tensors and their header; a failure leaves no half-written file behind.

    Args:
        kind: what the file holds, such as 'teacher'; `read_tensor_file` asks for it.
    """
    own = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    content = save(own, metadata={_key(kind): json.dumps(dict(header))})
    with replacing(path) as partial:
        partial.write_bytes(content)


def read_tensor_file(path: Path, kind: str) -> TensorFile:
    """Reads what `write_tensor_file` wrote.

    Raises:
        ValueError: the file is damaged, or of another kind.
    """
    try:
        with safe_open(str(path), framework="pt") as reader:
            metadata = reader.metadata() or {}
            tensors = {name: reader.get_tensor(name) for name in reader.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} is not a safetensors file, or is damaged ({error}): pass a {kind}'s .safetensors file"
        ) from error
    if _key(kind) not in metadata:
        raise ValueError(f"{path} is a safetensors file, but has no {kind} header: it is not a {kind}")
    return TensorFile(tensors, json.loads(metadata[_key(kind)]))


def _key(kind: str) -> str:
    return f"fairseq_dlf_{kind}"
