"""Student architectures with the sizes of the paper (Wu et al. 2018, section 5)."""

from argparse import Namespace
from typing import Any

from fairseq.models import register_model_architecture
from fairseq.models.lstm import base_architecture as lstm_defaults
from fairseq.models.transformer.transformer_legacy import base_architecture as transformer_defaults

from fairseq_dlf.translation.hooks.launch import require_processes

PAPER_WIDTH = 256


def _set_defaults(args: Namespace, **defaults: Any) -> None:
    # Before it starts processes, fairseq shows the whole command line only to architectures.
    require_processes(args)
    for name, value in defaults.items():
        setattr(args, name, getattr(args, name, value))


def _lstm(args: Namespace, layers: int) -> None:
    _set_defaults(
        args,
        encoder_embed_dim=PAPER_WIDTH,
        encoder_hidden_size=PAPER_WIDTH,
        encoder_layers=layers,
        decoder_embed_dim=PAPER_WIDTH,
        decoder_hidden_size=PAPER_WIDTH,
        decoder_out_embed_dim=PAPER_WIDTH,
        decoder_layers=layers,
        decoder_attention="1",
    )
    lstm_defaults(args)


@register_model_architecture("lstm", "lstm_dlf_1")
def lstm_dlf_1(args: Namespace) -> None:
    """One LSTM layer with attention, 256 wide: the paper's LSTM-1."""
    _lstm(args, layers=1)


@register_model_architecture("lstm", "lstm_dlf_2")
def lstm_dlf_2(args: Namespace) -> None:
    """Two LSTM layers with attention, 256 wide: the paper's LSTM-2."""
    _lstm(args, layers=2)


@register_model_architecture("transformer", "transformer_dlf_small")
def transformer_dlf_small(args: Namespace) -> None:
    """Six encoder and six decoder layers, 256 wide: the paper's small Transformer.

    The paper gives layers and width only; four heads and an inner width of
    1,024 follow the usual IWSLT14 set-up.
    """
    _set_defaults(
        args,
        encoder_embed_dim=PAPER_WIDTH,
        encoder_ffn_embed_dim=4 * PAPER_WIDTH,
        encoder_attention_heads=4,
        encoder_layers=6,
        decoder_embed_dim=PAPER_WIDTH,
        decoder_ffn_embed_dim=4 * PAPER_WIDTH,
        decoder_attention_heads=4,
        decoder_layers=6,
    )
    transformer_defaults(args)
