"""Tensors with a header on disk: safetensors files, which are read without pickle."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fairseq_dlf.core.files.fields import AGAIN, parse_json
from fairseq_dlf.core.files.replacement import replacing
from fairseq_dlf.core.support.digests import digest, tensor_digest
from fairseq_dlf.core.support.errors import InputError, MissingFileError, brief

# The header of a file is {"checksum": …, "header": fields}; versions up to 0.1.0 wrote the fields alone. All of it is
# one entry, since safetensors writes several entries in random order.
_CHECKSUM, _HEADER = "checksum", "header"
# All of SHA-256.
_DIGITS = 64


class TensorFile(NamedTuple):
    """Content of a file: tensors by name, on the CPU, and a header that JSON can represent."""

    tensors: dict[str, Tensor]
    header: dict[str, Any]


def write_tensor_file(path: Path, kind: str, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors, their header and a checksum; a failure leaves no half-written file behind.

    Args:
        kind: what the file holds, such as 'teacher'; `read_tensor_file` requires the same kind.
    """
    own = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    whole = {_CHECKSUM: _checksum(own, dict(header)), _HEADER: dict(header)}
    content = save(own, metadata={_key(kind): json.dumps(whole)})
    with replacing(path) as partial:
        partial.write_bytes(content)


def read_tensor_file(path: Path, kind: str) -> TensorFile:
    """Read a file that `write_tensor_file` wrote; versions up to 0.1.0 wrote no checksum.

    Raises:
        MissingFileError: there is no such file.
        InputError: the file is damaged, or of another kind.

    Cost: SHA-256 over the tensors.
    """
    if not path.exists():
        raise MissingFileError(f"there is no file {path}: pass a {kind}'s .safetensors file")
    try:
        with safe_open(str(path), framework="pt") as reader:
            metadata = reader.metadata() or {}
            tensors = {name: reader.get_tensor(name) for name in reader.keys()}  # noqa: SIM118
    # Types and shapes that torch does not have raise the last three.
    except (SafetensorError, OSError, AttributeError, TypeError, RuntimeError) as error:
        text = f"{path} is not a safetensors file, or is damaged ({brief(error)}): pass a {kind}'s .safetensors file"
        raise InputError(text) from error
    if _key(kind) not in metadata:
        raise InputError(f"{path} is a safetensors file, but has no {kind} header: it is not a {kind}")
    return TensorFile(tensors, _header(path, kind, parse_json(metadata[_key(kind)], path), tensors))


def require_float32(path: Path, tensors: Mapping[str, Tensor], remedy: str = AGAIN) -> None:
    """Raise InputError unless all tensors are float32 and all their elements finite.

    Args:
        path: the file that holds them.
        remedy: what to do about a tensor that does not pass.
    """
    for name, tensor in tensors.items():
        if tensor.dtype != torch.float32:
            dtype = str(tensor.dtype).removeprefix("torch.")
            raise InputError(f"the tensor {name} of {path} is {dtype}, but must be float32: {remedy}")
        count = int((~tensor.isfinite()).sum())
        if count:
            raise InputError(
                f"the tensor {name} of {path} has {count:,} elements that are infinite or NaN, but all must be finite: "
                f"{remedy}"
            )


def _header(path: Path, kind: str, whole: Any, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the header's fields, after comparing the checksum of the fields and the tensors."""
    fields = whole
    if isinstance(whole, dict) and set(whole) == {_CHECKSUM, _HEADER}:
        fields = whole[_HEADER]
        if whole[_CHECKSUM] != _checksum(tensors, fields):
            raise InputError(f"{path} is damaged: its content does not fit its checksum; fetch it again, or {AGAIN}")
    if not isinstance(fields, dict):
        raise InputError(f"{path} is damaged: its {kind} header holds no fields; {AGAIN}")
    return fields


def _checksum(tensors: Mapping[str, Tensor], header: Any) -> str:
    """Return SHA-256 over the header and, in the order of their names, the tensors with names, types and shapes."""
    names = sorted(tensors)
    listed = [f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}" for name in names]
    content = tensor_digest([tensors[name] for name in names], _DIGITS)
    return digest("\n".join([json.dumps(header), *listed, content]), _DIGITS)


def _key(kind: str) -> str:
    return f"fairseq_dlf_{kind}"
