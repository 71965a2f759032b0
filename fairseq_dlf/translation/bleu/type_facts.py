"""What forms of Φ may know of a target dictionary: frequencies, and what is not an ordinary word."""

import torch
from fairseq.data import Dictionary

from fairseq_dlf.core.teaching.forms import TypeFacts
from fairseq_dlf.translation.bleu.decoding import subword_symbol

ORDINARY, CONTINUED, PUNCTUATION, END = range(4)


def type_facts(dictionary: Dictionary) -> TypeFacts:
    """Return the facts of target types: counts as `fairseq-preprocess` wrote them, and kinds.

    The kinds are pieces of words that others belong to (with `@@` after them, or without SentencePiece's mark
    before them), punctuation, and the end of sentence.
    """
    symbol = subword_symbol(dictionary)
    kinds = [_kind(text, symbol) for text in dictionary.symbols]
    kinds[: dictionary.nspecial] = [ORDINARY] * dictionary.nspecial
    kinds[dictionary.eos()] = END
    counts = torch.tensor(dictionary.count, dtype=torch.float32)
    counts[: dictionary.nspecial] = 0.0
    return TypeFacts(counts, torch.tensor(kinds))


def _kind(text: str, symbol: str | None) -> int:
    bare = text.removeprefix("\u2581").removesuffix("@@")
    if bare and not any(letter.isalnum() for letter in bare):
        return PUNCTUATION
    pieces = symbol == "@@ " and text.endswith("@@")
    return CONTINUED if pieces or (symbol == "sentencepiece" and not text.startswith("\u2581")) else ORDINARY
