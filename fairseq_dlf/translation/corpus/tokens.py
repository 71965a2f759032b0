"""From corpora to clean, tokenised, lower-cased pairs."""

from collections.abc import Callable
from functools import partial
from multiprocessing import Pool
from typing import NamedTuple

from sacremoses import MosesDetokenizer, MosesTokenizer
from tqdm import tqdm

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.translation.corpus.corpora import Corpus, ParallelText
from fairseq_dlf.translation.corpus.messages import say
from fairseq_dlf.translation.corpus.settings import SPLITS, PreparationSettings

MAX_WORD_LENGTH = 1000  # characters; clean-corpus-n.perl's own limit
FEWEST = {"train": 2, "valid": 2, "test": 1}
# fairseq's default of --required-batch-size-multiple: it leaves out a last batch that is no multiple of it.
BATCH_MULTIPLE = 8


class Pair(NamedTuple):
    """One prepared sentence pair: tokens joined by spaces, and the target as it is scored against."""

    source: str
    target: str
    reference: str


class Prepared(NamedTuple):
    """The pairs by split, and how many train pairs the cleaning dropped."""

    pairs: dict[str, list[Pair]]
    dropped: int


def map_chunks(
    work: Callable[[list[str]], list[str]], lines: list[str], workers: int, label: str, size: int = 10_000
) -> list[str]:
    """Apply `work` to lines in chunks, in order, with a progress bar; in so many processes as there are workers."""
    chunks = [lines[start : start + size] for start in range(0, len(lines), size)]
    done: list[str] = []
    with tqdm(total=len(lines), desc=label, unit=" lines", disable=None) as bar:
        if workers == 1:
            for chunk in chunks:
                done += work(chunk)
                bar.update(len(chunk))
            return done
        with Pool(workers) as pool:
            for chunk in pool.imap(work, chunks):
                done += chunk
                bar.update(len(chunk))
    return done


def tokenise(language: str, lines: list[str]) -> list[str]:
    """Return Moses tokens joined by spaces, special characters escaped as the Perl does."""
    tokenizer = MosesTokenizer(language)
    return [tokenizer.tokenize(line.strip(), return_str=True) for line in lines]


def detokenise(language: str, lines: list[str]) -> list[str]:
    """Return the text that Moses tokens came from, entities resolved."""
    detokenizer = MosesDetokenizer(language)
    return [detokenizer.detokenize(line.split()) for line in lines]


def to_pairs(text: ParallelText, settings: PreparationSettings, workers: int, label: str) -> list[Pair]:
    """Tokenise and lower-case both sides, and keep the target's plain text as the reference."""
    if settings.tokenized:
        source, target = ([" ".join(line.split()) for line in side] for side in text)
        references = map_chunks(partial(detokenise, settings.target), target, workers, label)
    else:
        source, target = (
            map_chunks(partial(tokenise, language), side, workers, f"{label}.{language}")
            for side, language in zip(text, settings.languages, strict=True)
        )
        references = [line.strip() for line in text.target]
    return [Pair(*(line.lower() for line in lines)) for lines in zip(source, target, references, strict=True)]


def is_clean(pair: Pair, max_length: int, max_ratio: float) -> bool:
    """Say whether Moses' clean-corpus-n (minimum 1) would keep the pair."""
    words = pair.source.split(), pair.target.split()
    shorter, longer = sorted(len(side) for side in words)
    if shorter < 1 or longer > max_length or longer / shorter > max_ratio:
        return False
    return all(len(word) <= MAX_WORD_LENGTH for side in words for word in side)


def split_pairs(corpus: Corpus, settings: PreparationSettings, workers: int) -> Prepared:
    """Prepare every split.

    Raises:
        InputError: a split ends up with fewer pairs than fairseq takes.
    """
    pairs = {split: to_pairs(text, settings, workers, split) for split, text in corpus.text.items()}
    clean = [pair for pair in pairs["train"] if is_clean(pair, settings.max_length, settings.max_ratio)]
    dropped = len(pairs["train"]) - len(clean)
    pairs["train"] = clean
    every = corpus.valid_every
    if every is not None:
        pairs["valid"] = clean[every - 1 :: every]
        pairs["train"] = [pair for number, pair in enumerate(clean, 1) if number % every != 0]
    for split in SPLITS:
        carved = every is not None and split == "valid"
        origin = f" (one in {every} of the {len(clean)} clean train pairs)" if carved else ""
        require_enough(split, len(pairs[split]), f"{origin}, and {dropped:,} train pairs were dropped")
    return Prepared(pairs, dropped)


def require_enough(split: str, found: int, how: str = "") -> None:
    """Raise an error where a split is too small, and say where fairseq would take it for an empty one.

    Args:
        found: pairs of the split.
        how: how there came to be so few, after the number.

    Raises:
        InputError: there are fewer than `FEWEST`.
    """
    if found < FEWEST[split]:
        held = {0: "no pair", 1: "one pair only"}[found]
        wanted = {1: "at least one pair", 2: "at least two pairs"}[FEWEST[split]]
        raise InputError(f"the {split} split has {held}{how}: fairseq wants {wanted} there; add text")
    if found < BATCH_MULTIPLE:
        say(
            f"note: the {split} split has {found} of the {BATCH_MULTIPLE} pairs that fairseq puts into a batch, and "
            "would be taken for empty: add text, or pass --required-batch-size-multiple 1 to fairseq's commands"
        )
