"""Rewards of tokens: they add up to sentence BLEU, and a word counts when it is complete."""

import numpy as np
import pytest
import torch

from benchmarks.sentences import made_dictionary
from fairseq_dlf.translation.bleu.decoding import WordJoiner
from fairseq_dlf.translation.bleu.rewards import token_rewards
from fairseq_dlf.translation.bleu.scores import sentence_bleu

# Symbols of each way to write subwords: parts of words and whole words, and a sentence of two words.
WAYS = {
    "words": (["ab", "c"], ["ab", "c"]),
    "@@": (["a@@", "b", "c", "d@@"], ["a@@", "b", "c"]),
    "sentencepiece": (["▁a", "b", "▁c", "▁", "d"], ["▁a", "b", "▁c"]),
}


def joiner_of(way: str) -> WordJoiner:
    dictionary = made_dictionary(4)
    for symbol in WAYS[way][0]:
        dictionary.add_symbol(symbol)
    return WordJoiner(dictionary)


def rows(words, *sentences):
    """Sentences of symbols as padded rows, each with its end."""
    dictionary = words.dictionary
    ids = [[dictionary.index(symbol) for symbol in sentence] + [dictionary.eos()] for sentence in sentences]
    longest = max(map(len, ids))
    return torch.tensor([row + [dictionary.pad()] * (longest - len(row)) for row in ids])


@pytest.mark.parametrize("way", WAYS)
def test_rewards_add_up_to_sentence_bleu(way):
    words, draw = joiner_of(way), np.random.RandomState(3)
    symbols = [*WAYS[way][0], "<unk>"]
    sentences = [draw.choice(symbols, size=draw.randint(0, 9)).tolist() for _ in range(300)]
    sentences += [[], sentences[5], [symbols[0]]]
    translations, references = rows(words, *sentences), rows(words, *reversed(sentences))
    found = token_rewards(words, translations, list(references))
    wanted = [
        sentence_bleu(words.hypothesis(row[row != words.dictionary.pad()]).split(), words.reference(reference).split())
        for row, reference in zip(translations, references, strict=True)
    ]
    assert np.std(wanted) > 0.1
    torch.testing.assert_close(found.sum(1), torch.tensor(wanted, dtype=torch.float64), rtol=0, atol=1e-15)
    assert not found[translations == words.dictionary.pad()].any()


@pytest.mark.parametrize(
    ("way", "gains"),
    [("words", [True, True, False]), ("@@", [False, True, True, False]), ("sentencepiece", [False, False, True, True])],
)
def test_a_word_counts_when_it_is_complete(way, gains):
    """The end completes the last word where only the next piece would tell that a word is complete."""
    words = joiner_of(way)
    row = rows(words, WAYS[way][1])
    (found,) = token_rewards(words, row, list(row))
    assert found.ne(0).tolist() == gains
    assert found.sum().item() == pytest.approx(1.0)


def test_the_end_completes_a_word_that_was_cut_off():
    words = joiner_of("@@")
    (found,) = token_rewards(words, rows(words, ["c", "d@@"]), [rows(words, ["c", "d@@"])[0]])
    assert found[2] > 0 and found.sum().item() == pytest.approx(1.0)


def test_rewards_are_the_gains_of_each_prefix():
    words = joiner_of("words")
    row, reference = rows(words, ["c", "ab", "ab"]), rows(words, ["ab", "c", "ab", "ab"])[0]
    (found,) = token_rewards(words, row, [reference])
    bleus = [sentence_bleu(["c", "ab", "ab"][:n], ["ab", "c", "ab", "ab"]) for n in range(4)]
    assert found.tolist() == [*np.diff(bleus), 0.0]


def test_padding_changes_nothing():
    words = joiner_of("@@")
    short, long = ["a@@", "b"], ["c", "c", "a@@", "b", "c"]
    alone = token_rewards(words, rows(words, short), [rows(words, short)[0]])
    beside = token_rewards(words, rows(words, short, long), list(rows(words, short, long)))
    assert torch.equal(beside[0, :3], alone[0]) and not beside[0, 3:].any()
    assert beside.dtype == torch.float64


def test_empty_translations_get_nothing():
    words = joiner_of("words")
    found = token_rewards(words, rows(words, [], ["c"]), list(rows(words, ["c"], [])))
    assert found.tolist() == [[0.0, 0.0], [0.0, 0.0]]
