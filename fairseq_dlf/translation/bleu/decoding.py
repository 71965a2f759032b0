"""Translations from a fairseq model: batches of a fixed sample, greedy and sampled decoding, words."""

from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Optional

import numpy as np
import torch
from fairseq import utils
from fairseq.data import Dictionary, FairseqDataset
from fairseq.models import BaseFairseqModel
from fairseq.tasks import FairseqTask
from torch import Tensor, nn

from fairseq_dlf.core.hypergradient.student import Student
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.translation.bleu.scores import CorpusBleu, corpus_bleu

# Translations are rarely longer; those of a degenerate student would reach fairseq's limit of 200.
MAX_LENGTH_FACTOR = 1.5
MAX_LENGTH_OFFSET = 10
UNKNOWN_IN_REFERENCE = "UNKNOWNTOKENINREF"
DECODE_SENTENCES = 64


def subword_symbol(dictionary: Dictionary) -> Optional[str]:
    """Return the symbol by which this dictionary's subwords are joined: '@@ ', 'sentencepiece' or None."""
    symbols = dictionary.symbols[dictionary.nspecial :]
    if any(symbol.endswith("@@") for symbol in symbols):
        return "@@ "
    if any(symbol.startswith("\u2581") for symbol in symbols):
        return "sentencepiece"
    return None


class WordJoiner:
    """A converter of token ids to the text that BLEU is computed on, with subwords joined."""

    def __init__(self, dictionary: Dictionary, symbol: Optional[str] = None):
        self.dictionary = dictionary
        self.symbol = subword_symbol(dictionary) if symbol is None else symbol

    def hypothesis(self, tokens: Tensor) -> str:
        return self.dictionary.string(tokens.int().cpu(), self.symbol)

    def pieces(self, tokens: Tensor) -> list[str]:
        """Return the text that each token adds to a hypothesis, with the space that ends or begins a word.

        All pieces in a row are the hypothesis, up to spaces at its ends. A word is complete once a space follows
        it, or the sentence ends.
        """
        silent = (self.dictionary.bos(), self.dictionary.eos())
        pieces = [self.dictionary[token] + " " if token not in silent else "" for token in tokens.tolist()]
        if self.symbol == "sentencepiece":
            return [piece.replace(" ", "").replace("\u2581", " ") for piece in pieces]
        return pieces if self.symbol is None else [piece.replace(self.symbol, "") for piece in pieces]

    def reference(self, tokens: Tensor) -> str:
        """Return the text of a target row, without padding; its unknown words match nothing."""
        tokens = utils.strip_pad(tokens, self.dictionary.pad())
        return self.dictionary.string(tokens.int().cpu(), self.symbol, unk_string=UNKNOWN_IN_REFERENCE)


def fixed_sample(dataset: FairseqDataset, sentences: int, seed: int) -> list[int]:
    """Return the indices of a seeded sample of a dataset, in ascending order.

    Args:
        sentences: size of the sample; 0 takes all sentences.

    Raises:
        InputError: the dataset is empty or holds fewer.
    """
    if len(dataset) == 0:
        raise InputError("the data set is empty: preprocess it again with a non-empty dev set (--validpref)")
    if sentences < 0 or sentences > len(dataset):
        raise InputError(
            f"{sentences} sentences were asked for, the data set has {len(dataset)}: ask for fewer, or 0 for all"
        )
    if sentences == 0:
        return list(range(len(dataset)))
    chosen = np.random.RandomState(seed).choice(len(dataset), size=sentences, replace=False)
    return sorted(chosen.tolist())


def batches_of(
    dataset: FairseqDataset, indices: Sequence[int], device: torch.device, sentences: int = DECODE_SENTENCES
) -> Iterator[dict[str, Any]]:
    """Yield batches of up to `sentences` sentences of similar length, on the device."""
    by_length = sorted(indices, key=lambda index: (dataset.num_tokens(index), index))
    for start in range(0, len(by_length), sentences):
        batch = dataset.collater([dataset[index] for index in by_length[start : start + sentences]])
        yield on_device(batch, device)


def on_device(batch: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Return a fairseq batch on the device."""
    return utils.move_to_cuda(batch, device) if device.type == "cuda" else batch


def select_rows(batch: dict[str, Any], rows: Tensor, left_pad_source: bool) -> dict[str, Any]:
    """Return some sentences of a fairseq batch, in order, with the source's padding cut to the longest of them.

    Args:
        rows: (sentences,), int64, ascending, so that the lengths stay sorted.
    """
    source = batch["net_input"]
    lengths = source["src_lengths"][rows]
    longest = int(lengths.max())
    tokens = source["src_tokens"][rows]
    return {
        "id": batch["id"][rows],
        "net_input": {
            "src_tokens": tokens[:, -longest:] if left_pad_source else tokens[:, :longest],
            "src_lengths": lengths,
            "prev_output_tokens": source["prev_output_tokens"][rows],
        },
        "target": batch["target"][rows],
    }


def unwrapped(model: nn.Module) -> BaseFairseqModel:
    """Return the model inside fairseq's and torch's wrappers for several workers."""
    inner: Any = model
    while not isinstance(inner, BaseFairseqModel):
        inner = inner.module
    return inner


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put the model into evaluation mode; restore the modes of its modules and the random numbers afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    devices = [p.device for p in model.parameters() if p.is_cuda][:1]
    model.eval()
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        for module, training in modes:
            module.training = training


def build_generator(task: FairseqTask, model: BaseFairseqModel, **options: Any) -> Any:
    """Return fairseq's sequence generator with a bound on length that suits evaluation."""
    settings = {"max_len_a": MAX_LENGTH_FACTOR, "max_len_b": MAX_LENGTH_OFFSET, **options}
    return FairseqTask.build_generator(task, [model], Namespace(**settings))


class LengthLimit(NamedTuple):
    """A bound on the words of translations: factor · width of the batch's sources + offset.

    Attributes:
        factor, offset: fairseq's `--max-len-a` and `--max-len-b`.
    """

    factor: float = MAX_LENGTH_FACTOR
    offset: float = MAX_LENGTH_OFFSET

    def longest(self, model: BaseFairseqModel, source_length: int) -> int:
        """Return the most words that a generator with this bound gives to translations of a batch.

        The end of a translation of that many words is forced: it does not come from the model's distribution.

        Args:
            source_length: width of the batch's sources, padding and ends of sentences included.
        """
        return min(int(self.factor * source_length + self.offset), model.max_decoder_positions() - 1)

    def options(self, shortest: int) -> dict[str, float]:
        """Return the options of `build_generator` for translations within this bound.

        Args:
            shortest: words that a translation has at least.
        """
        return {"min_len": shortest, "max_len_a": self.factor, "max_len_b": self.offset}


USUAL_LIMIT = LengthLimit()


class GreedyTranslations(NamedTuple):
    """Text with subwords joined, sentence by sentence in the order of their lengths."""

    hypotheses: list[str]
    references: list[str]


def greedy_translations(
    task: FairseqTask, model: BaseFairseqModel, dataset: FairseqDataset, indices: Sequence[int]
) -> GreedyTranslations:
    """Return a model's greedy translations of these sentences, and their references.

    Cost: one greedy decoding; a small LSTM on two CPU cores decodes about 150 short
        sentences per second.
    """
    words = WordJoiner(task.target_dictionary)
    found = GreedyTranslations([], [])
    with evaluating(model), torch.no_grad():
        generator = build_generator(task, model, beam=1)
        device = next(model.parameters()).device
        for batch in batches_of(dataset, indices, device):
            for row, translations in zip(batch["target"], generator.generate([model], batch), strict=True):
                found.hypotheses.append(words.hypothesis(translations[0]["tokens"]))
                found.references.append(words.reference(row))
    return found


def greedy_bleu(
    task: FairseqTask, model: BaseFairseqModel, dataset: FairseqDataset, indices: Sequence[int]
) -> CorpusBleu:
    """Return tokenised BLEU of a model's greedy translations of these sentences; the cost is theirs."""
    return corpus_bleu(*greedy_translations(task, model, dataset, indices))


def module_at(student: Student, params: Tensor) -> BaseFairseqModel:
    """Return the student's module with these parameters, for decoding, until other parameters are loaded into it.

    Args:
        params: ω, (parameters,).
    """
    student.load_flat_params(params)
    return unwrapped(student.module)
