"""Tiny students from fairseq's own modules, on a vocabulary of a dozen types."""

from argparse import Namespace
from types import SimpleNamespace

import fairseq.models.lstm
import fairseq.models.transformer.transformer_legacy as transformer_legacy
import numpy as np
import pytest
import torch
from fairseq.data import LanguagePairDataset
from fairseq.models.transformer import TransformerModel

import fairseq_dlf.translation.plugins  # noqa: F401
from benchmarks.sentences import SentenceTask, made_dictionary


class TinyTask(SentenceTask):
    """Short random sentences of a dozen types, the same on both sides."""

    def __init__(self, types: int = 12):
        dictionary = made_dictionary(types)
        super().__init__(dictionary, dictionary)

    def pairs(self, number: int, seed: int = 0, longest: int = 6) -> LanguagePairDataset:
        """Random sentence pairs of 1 to `longest` words."""
        draw, dictionary = np.random.RandomState(seed), self.target_dictionary

        def sentence():
            words = draw.randint(dictionary.nspecial, len(dictionary), size=draw.randint(1, longest + 1))
            return torch.tensor([*words, dictionary.eos()])

        source, target = [sentence() for _ in range(number)], [sentence() for _ in range(number)]
        return self.paired(source, target)


def _lstm(task, dropout):
    args = Namespace(
        encoder_embed_dim=5,
        decoder_embed_dim=5,
        decoder_out_embed_dim=5,
        encoder_hidden_size=5,
        decoder_hidden_size=5,
        dropout=dropout,
        criterion="dlf",
    )
    fairseq.models.lstm.base_architecture(args)
    return fairseq.models.lstm.LSTMModel.build_model(args, task)


def _transformer(task, dropout):
    args = Namespace(
        encoder_embed_dim=4,
        encoder_ffn_embed_dim=6,
        encoder_layers=1,
        encoder_attention_heads=2,
        decoder_embed_dim=4,
        decoder_ffn_embed_dim=6,
        decoder_layers=1,
        decoder_attention_heads=2,
        dropout=dropout,
        # No kinks, which would spoil finite differences; fairseq's gelu computes in float32.
        activation_fn="tanh",
        max_source_positions=64,
        max_target_positions=64,
    )
    transformer_legacy.base_architecture(args)
    return TransformerModel.build_model(args, task)


BUILDERS = {"lstm": _lstm, "transformer": _transformer}


@pytest.fixture
def tiny():
    """Builds (task, model in float64) by architecture name."""

    def build(arch: str, dropout: float = 0.3, types: int = 12):
        task = TinyTask(types)
        return SimpleNamespace(task=task, model=BUILDERS[arch](task, dropout).double())

    return build


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The data-bin of `tests.translation.tiny_runs`."""
    from tests.translation.tiny_runs import make_data_bin  # fairseq's command line takes long to import

    return make_data_bin(tmp_path_factory.mktemp("data"))
