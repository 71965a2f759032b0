"""Averages of fairseq checkpoints."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fairseq_dlf.core.files.checkpoint_zip import read_checkpoint
from fairseq_dlf.core.files.replacement import replacing
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.translation.hooks.safe_globals import allow_checkpoint_globals
from fairseq_dlf.translation.hooks.task_state import EXTRA_STATE_KEY

OPTIMIZER_STATE = "last_optimizer_state"
SHOWN = 5


def average(inputs: Sequence[Path]) -> dict[str, Any]:
    """Average the model parameters of checkpoints.

    Floating-point tensors are summed in float64 and returned in their own dtype. Of others, a single number is a
    counter and taken from the last input; larger ones must be the same in all.

    Returns:
        The last checkpoint with the averaged model, without the states of its optimizer and criterion.

    Raises:
        MissingFileError: a file is not there.
        InputError: a file is damaged, is no fairseq checkpoint, holds values that are not finite, or other
            parameters than the first.

    Cost: one float64 copy of the model and one checkpoint at a time in memory.
    """
    if not inputs:
        raise InputError("no checkpoints to average: name at least one", setting="inputs")
    sums: dict[str, Tensor] = {}
    for path in inputs:
        checkpoint = _read(path)
        model = checkpoint["model"]
        if sums:
            _require_same_parameters(model, sums, path, inputs[0])
        for name, tensor in model.items():
            if not tensor.is_floating_point():
                sums[name] = tensor
            else:
                sums[name] = sums[name] + tensor if name in sums else tensor.double()
    checkpoint["model"] = {
        name: (sums[name] / len(inputs)).to(tensor.dtype) if tensor.is_floating_point() else tensor
        for name, tensor in model.items()
    }
    # It would be of the last checkpoint alone.
    return without_training_state(checkpoint)


def without_training_state(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return a checkpoint without what only a resumed run reads."""
    left = {name: value for name, value in checkpoint.items() if name != OPTIMIZER_STATE}
    if isinstance(left.get("extra_state"), dict):
        left["extra_state"] = {name: value for name, value in left["extra_state"].items() if name != EXTRA_STATE_KEY}
    return left


def save(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint in one piece: whoever reads the path never sees half of it.

    Raises:
        DiskError: the disk is full.
    """
    with replacing(path) as partial:
        torch.save(checkpoint, partial)


def _read(path: Path) -> dict[str, Any]:
    wanted = "a checkpoint that fairseq-train has written"
    allow_checkpoint_globals()
    checkpoint = read_checkpoint(path, wanted)
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("model"), dict) or not checkpoint["model"]:
        raise InputError(f"{path} holds no 'model' with parameters: pass {wanted}")
    for name, tensor in checkpoint["model"].items():
        fault = _fault_of(tensor)
        if fault is not None:
            raise InputError(f"{name} in {path} {fault}: leave that file out, or pass another")
    return checkpoint


def _fault_of(tensor: Any) -> str | None:
    """Say what keeps a parameter from being averaged; None where nothing does."""
    if not isinstance(tensor, Tensor):
        return f"is a {type(tensor).__name__}, not a tensor"
    if tensor.layout is not torch.strided or tensor.is_meta or tensor.is_quantized or tensor.is_complex():
        return f"is a tensor of {tensor.dtype} in the layout {tensor.layout}, which has no mean here"
    # A view that repeats a few stored values could be any size.
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return f"claims {tensor.numel():,} values, more than the file holds"
    if tensor.is_floating_point() and not tensor.double().isfinite().all():
        return "holds values that are not finite (NaN or infinity)"
    return None


def _require_same_parameters(model: Mapping[str, Tensor], sums: Mapping[str, Tensor], path: Path, first: Path) -> None:
    """Raise an error unless a model has the parameters of the first, of the same shapes and kinds."""
    different = sorted(map(str, set(model) ^ set(sums)))
    if different:
        raise InputError(
            f"{path} and {first} hold different parameters ({', '.join(different[:SHOWN])}): "
            "average checkpoints of one architecture"
        )
    for name, tensor in model.items():
        before = sums[name]
        if tensor.shape != before.shape:
            raise InputError(
                f"{name} is {tuple(tensor.shape)} in {path}, {tuple(before.shape)} in {first}: "
                "average checkpoints of one architecture and one dictionary"
            )
        if tensor.is_floating_point() != before.is_floating_point():
            raise InputError(
                f"{name} is {tensor.dtype} in {path}, but not in {first}: average checkpoints of one training"
            )
        if not tensor.is_floating_point() and tensor.numel() > 1 and not torch.equal(tensor, before):
            raise InputError(
                f"{name} holds other whole numbers in {path} than in {first}, and they have no mean: "
                "average checkpoints of one training"
            )
