"""Forward passes of fairseq's models without the parts that several translations of one source would repeat."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def encoding_once(model: nn.Module, owners: Tensor, repeated: bool = False) -> Iterator[None]:
    """Have the model's forwards decode several targets of each source, whose encoding they share.

    The encoder itself repeats its output, so that the model is still called as a whole: wrappers for several
    workers, and calls with other parameters, see an ordinary forward pass. Dropout in the encoder is the same for
    all targets of a source.

    Args:
        model: an encoder-decoder model of fairseq, unwrapped.
        owners: the source of each row of `prev_output_tokens`, (rows,), int64.
        repeated: whether the encoder is given a source for each row, as fairseq's generator does, and not each
            once; `owners` must then be ascending, without gaps.
    """
    encoder: Any = model.encoder
    encode = encoder.forward
    firsts = torch.searchsorted(owners, torch.arange(int(owners[-1]) + 1, device=owners.device)) if repeated else None

    def forward(*inputs: Any, **named: Any) -> Any:
        if firsts is not None:
            inputs = tuple(given[firsts] for given in inputs)
            named = {name: given[firsts] for name, given in named.items()}
        return encoder.reorder_encoder_out(encode(*inputs, **named), owners)

    encoder.forward = forward
    try:
        yield
    finally:
        del encoder.forward  # which uncovers the method of its class


@contextmanager
def projecting_only(model: nn.Module, where: Tensor) -> Iterator[None]:
    """Have the model's forwards return the logits of some places only, (places, types).

    Args:
        model: an encoder-decoder model of fairseq, unwrapped. If its decoder does not project with the method
            `output_layer`, nothing changes.
        where: the places, (rows, length), bool.
    """
    decoder: Any = model.decoder
    project = decoder.output_layer
    decoder.output_layer = lambda features: project(features[where])
    try:
        yield
    finally:
        del decoder.output_layer
