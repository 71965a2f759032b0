"""A language of 156 translations, over which expectations are sums; and a test of estimates of gradients."""

import itertools
from types import SimpleNamespace

import torch
from torch import Tensor

from fairseq_dlf.translation.bleu.decoding import LengthLimit, WordJoiner
from fairseq_dlf.translation.bleu.scores import sentence_bleu
from tests.translation.conftest import BUILDERS, TinyTask
from tests.translation.students.losses.made_sequences import batch_of, candidates_of

# Translations have at most three words, after which the end is forced.
LONGEST = 3
LIMIT = LengthLimit(0, LONGEST)
# Random directions in the space of parameters, besides that of the exact gradient.
DIRECTIONS = 7


def tiny_language() -> SimpleNamespace:
    """Return a student without dropout, one source and its target, and every translation of up to three words.

    The words are `<s>` and `<unk>`, which fairseq draws too, and three more.
    """
    torch.manual_seed(4)
    task = TinyTask(types=7)
    made = SimpleNamespace(task=task, model=BUILDERS["lstm"](task, 0.0).double(), pair=([4, 5, 6], [6, 4]))
    for parameter in made.model.parameters():
        parameter.data *= 3  # far from uniform
    words = task.target_dictionary
    made.batch = batch_of(made, [made.pair])
    symbols = [i for i in range(len(words)) if i not in (words.pad(), words.eos())]
    made.every = [[*w, words.eos()] for n in range(LONGEST + 1) for w in itertools.product(symbols, repeat=n)]
    joiner, reference = WordJoiner(words), [words[word] for word in made.pair[1]]
    bleu = [sentence_bleu(joiner.hypothesis(torch.tensor(s)).split(), reference) for s in made.every]
    made.candidates = candidates_of(
        made, made.batch, [[(s[:-1], b) for s, b in zip(made.every, bleu, strict=True)]], slots=len(bleu)
    )
    made.bleu = torch.tensor(bleu, dtype=torch.float64)
    return made


def directions_of(gradient: Tensor) -> Tensor:
    """Return unit vectors, (directions, parameters): that of the gradient, and random ones."""
    drawn = torch.randn(DIRECTIONS, len(gradient), generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    drawn = torch.cat([gradient.unsqueeze(0), drawn])
    return drawn / drawn.norm(dim=1, keepdim=True)


def standard_errors_away(draws: Tensor, wanted: Tensor) -> Tensor:
    """Return by how many standard errors the mean of draws, (draws, directions), misses what is wanted."""
    return (draws.mean(dim=0) - wanted).abs() / (draws.std(dim=0) / len(draws) ** 0.5)
