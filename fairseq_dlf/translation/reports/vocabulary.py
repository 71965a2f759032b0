"""Target types as words, with their frequencies, from the dictionary of a data-bin alone."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import torch
from fairseq import utils
from fairseq.data import Dictionary
from fairseq.data.data_utils import infer_language_pair
from torch import Tensor

from fairseq_dlf.core.support.errors import InputError, MissingFileError
from fairseq_dlf.core.teaching.forms import TypeFacts
from fairseq_dlf.translation.bleu.type_facts import type_facts
from fairseq_dlf.translation.hooks.launch import require_data_bin


@dataclass(frozen=True)
class Vocabulary:
    """The types of a target dictionary.

    Attributes:
        dictionary: fairseq's.
        facts: what forms may know of the types; `facts.counts` is their frequency in train.
        occurs: the types that have a word to report, (types,), bool: those in train, and the end of sentence, whose
            frequency dictionaries do not tell.
    """

    dictionary: Dictionary
    facts: TypeFacts
    occurs: Tensor

    @classmethod
    def of(cls, dictionary: Dictionary) -> "Vocabulary":
        facts = type_facts(dictionary)
        occurs = facts.counts > 0
        occurs[dictionary.eos()] = True
        return cls(dictionary, facts, occurs)

    def __len__(self) -> int:
        return len(self.dictionary)

    def word(self, place: int) -> str:
        """Return the text of a type."""
        text: str = self.dictionary[place]
        return text

    def frequency(self, place: int) -> str:
        """Return how often a type occurs in train, as text; '–' where the dictionary does not tell."""
        count = int(self.facts.counts[place])
        return f"{count:,}" if count else "–"

    def places(self, words: Sequence[str]) -> list[int]:
        """Return the types of words, each once.

        Raises:
            InputError: a word is no type of the dictionary.
        """
        symbols = self.dictionary.symbols
        for word in words:
            if word not in self.dictionary.indices:
                near = difflib.get_close_matches(word, symbols, n=3) or symbols[self.dictionary.nspecial :][:3]
                raise InputError(
                    f"{word!r} is no type of the target dictionary, whose types are subwords: did you mean "
                    f"{', '.join(near)}? Name types as the dictionary writes them",
                    setting="words",
                )
        return list(dict.fromkeys(self.dictionary.index(word) for word in words))


def read_vocabulary(data: str, language: Optional[str] = None) -> Vocabulary:
    """Read the target dictionary of a data-bin; its sentences are not read.

    Args:
        data: the folder, or several with colons between them, of which the first is taken.
        language: of the target; None takes that of the names of files, as fairseq does.

    Raises:
        MissingFileError: there is no data-bin, or no dictionary of this language.
        InputError: the data-bin does not tell its languages, or the dictionary is damaged.
    """
    require_data_bin(data)
    folder = Path(utils.split_paths(data)[0])
    target = language or infer_language_pair(str(folder))[1]
    if target is None:
        raise InputError(f"the files of {folder} do not tell which language is the target: name it", "target_lang")
    path = folder / f"dict.{target}.txt"
    if not path.is_file():
        there = ", ".join(sorted(each.name for each in folder.glob("dict.*.txt")))
        raise MissingFileError(f"there is no dictionary {path}, but {there}: name another language", "target_lang")
    try:
        return Vocabulary.of(Dictionary.load(str(path)))
    except (ValueError, RuntimeError) as error:
        raise InputError(f"the dictionary {path} is damaged: preprocess the data again") from error


def frequency_bands(counts: Tensor, values: Tensor, number: int = 10) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean of values over types of about the same frequency.

    The bands are equally wide on a logarithmic scale; those without a type are left out.

    Args:
        counts: frequencies, (n,), each above 0.
        values: (n,).
        number: of bands.

    Returns:
        The geometric mean of the frequencies, the mean value, and the number of types of each band; (bands,) each.
    """
    logs = counts.double().log()
    width = (logs.max() - logs.min()).clamp(min=1e-12) / number
    band = ((logs - logs.min()) / width).long().clamp(max=number - 1)
    types = torch.bincount(band, minlength=number)
    filled = types > 0

    def mean(each: Tensor) -> Tensor:
        return (torch.bincount(band, weights=each.double(), minlength=number) / types)[filled]

    return mean(logs).exp(), mean(values), types[filled]
