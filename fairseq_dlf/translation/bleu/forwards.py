"""Forward passes of fairseq's models without the parts that several translations of one source would repeat."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

# What a step of a decoder costs besides its rows, in rows of a small LSTM: launching its operations.
STEP_COST_ROWS, STEP_COST_ROWS_ELSEWHERE = 16, 1024


@contextmanager
def encoding_once(model: nn.Module, owners: Tensor) -> Iterator[None]:
    """Have the model's encoder, which is given a source for each row, encode each source once.

    Args:
        model: an encoder-decoder model of fairseq, unwrapped.
        owners: the source of each row, (rows,), int64, ascending and without gaps.
    """
    encoder: Any = model.encoder
    encode = encoder.forward
    firsts = torch.searchsorted(owners, torch.arange(int(owners[-1]) + 1, device=owners.device))

    def forward(*inputs: Any, **named: Any) -> Any:
        inputs = tuple(given[firsts] for given in inputs)
        named = {name: given[firsts] for name, given in named.items()}
        return encoder.reorder_encoder_out(encode(*inputs, **named), owners)

    with _replaced(encoder, "forward", forward):
        yield


@contextmanager
def decoding_tokens_only(model: nn.Module, owners: Tensor, lengths: Tensor) -> Iterator[None]:
    """Have the model's forwards decode several targets of each source, and return the logits of their tokens only.

    The logits are (tokens, types), target by target. Targets of similar length are decoded together, as far as that
    saves more padding than it costs, and all are projected to the types at once. The model is still called as a
    whole, with each source once: wrappers for several workers, and calls with other parameters, see an ordinary
    forward pass. Dropout in the encoder is the same for all targets of a source.

    Args:
        model: an encoder-decoder model of fairseq, unwrapped.
        owners: the source of each row of `prev_output_tokens`, (rows,), int64.
        lengths: tokens of each row, at least 1, (rows,), int64; what is to the right of them is padding.
    """
    encoder: Any = model.encoder
    decoder: Any = model.decoder
    decode, project = decoder.forward, decoder.output_layer
    firsts = lengths.cumsum(0) - lengths  # the place of each target's first token
    groups = similar_lengths(lengths, STEP_COST_ROWS if lengths.device.type == "cpu" else STEP_COST_ROWS_ELSEWHERE)

    def forward(prev_output_tokens: Tensor, encoder_out: Any = None, **named: Any) -> Any:
        found, places = [], []
        held_back = False

        def hold_back(features: Tensor) -> Tensor:
            nonlocal held_back
            held_back = True
            return features

        with _replaced(decoder, "output_layer", hold_back):
            for rows in groups:
                width = int(lengths[rows].max())
                sources = encoder.reorder_encoder_out(_with_own_lists(encoder_out), owners[rows])
                features, *_ = decode(prev_output_tokens[rows, :width], encoder_out=sources, **named)
                columns = torch.arange(width, device=rows.device)
                real = columns < lengths[rows].unsqueeze(1)
                found.append(features[real])
                places.append((firsts[rows].unsqueeze(1) + columns)[real])
        in_order = torch.cat(found).index_select(0, torch.cat(places).argsort())
        # Some decoders project without their method `output_layer`.
        return project(in_order) if held_back else in_order, None

    with _replaced(decoder, "forward", forward):
        yield


def similar_lengths(lengths: Tensor, step_cost: int) -> list[Tensor]:
    """Return groups of rows of similar length, (rows,), int64, each, so that they are decoded at the least cost.

    The cost of a group is its greatest length · (its rows + `step_cost`).

    Args:
        lengths: (rows,), int64.
        step_cost: what a step of the decoder costs whatever the number of its rows, in rows.

    Cost: the square of the number of different lengths.
    """
    order = lengths.argsort(stable=True)
    widths, counts = (found.tolist() for found in lengths.unique(return_counts=True))
    upto = [0, *itertools.accumulate(counts)]
    # The least cost of the rows up to each length, and where the last group of them begins.
    best: list[tuple[int, int]] = [(0, 0)]
    for end, width in enumerate(widths, start=1):
        best.append(min((best[i][0] + width * (upto[end] - upto[i] + step_cost), i) for i in range(end)))
    groups, end = [], len(widths)
    while end > 0:
        begin = best[end][1]
        groups.append(order[upto[begin] : upto[end]])
        end = begin
    return groups[::-1]


def _with_own_lists(encoder_out: Any) -> Any:
    """Copy the lists in an encoder's output: fairseq's Transformer writes the reordered states into the old list."""
    if not isinstance(encoder_out, dict):
        return encoder_out
    return {name: list(value) if isinstance(value, list) else value for name, value in encoder_out.items()}


@contextmanager
def _replaced(module: nn.Module, name: str, method: Callable[..., Any]) -> Iterator[None]:
    """Put a function in the place of a module's method."""
    before = vars(module).get(name)
    setattr(module, name, method)
    try:
        yield
    finally:
        if before is None:
            delattr(module, name)  # which uncovers the method of its class
        else:
            setattr(module, name, before)
