"""From corpora to clean, tokenised, lower-cased pairs."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing import Pool
from typing import NamedTuple

from sacremoses import MosesDetokenizer, MosesTokenizer
from tqdm import tqdm

from fairseq_dlf.translation.corpus.corpora import SPLITS, Corpus, ParallelText, PrepareError

MAX_WORD_LENGTH = 1000  # characters; clean-corpus-n.perl's own limit


class Pair(NamedTuple):
    """One prepared sentence pair: tokens joined by spaces, and the target as it is scored against."""

    source: str
    target: str
    reference: str


@dataclass(frozen=True)
class Options:
    """All that changes the result; kept in the manifest and compared on the next run.

    Attributes:
        corpus: the front end's name.
        source, target: language codes, as in the file names.
        bpe: a key of ``BPE_MODELS``.
        bpe_tokens: merge operations (subword_nmt) or pieces (sentencepiece).
        tokenized: whether the input is Moses-tokenised already.
        max_length: longest train sentence kept, in tokens.
        max_ratio: largest ratio of the two lengths of a train pair kept.
        inputs: sha256 of every file read, by file name.
    """

    corpus: str
    source: str
    target: str
    bpe: str
    bpe_tokens: int
    tokenized: bool
    max_length: int
    max_ratio: float
    inputs: dict[str, str]

    @property
    def languages(self) -> tuple[str, str]:
        return self.source, self.target

    @property
    def text_files(self) -> list[str]:
        return [f"{split}.{language}" for split in SPLITS for language in self.languages]


def map_chunks(
    work: Callable[[list[str]], list[str]], lines: list[str], workers: int, label: str, size: int = 10_000
) -> list[str]:
    """Apply ``work`` to lines in chunks, in order, with a progress bar; ``workers`` processes."""
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
    """Moses tokens joined by spaces, special characters escaped as the Perl does."""
    tokenizer = MosesTokenizer(language)
    return [tokenizer.tokenize(line.strip(), return_str=True) for line in lines]


def detokenise(language: str, lines: list[str]) -> list[str]:
    """The text that Moses tokens came from, entities resolved."""
    detokenizer = MosesDetokenizer(language)
    return [detokenizer.detokenize(line.split()) for line in lines]


def to_pairs(text: ParallelText, options: Options, workers: int, label: str) -> list[Pair]:
    """Tokenise and lower-case both sides, and keep the target's plain text as the reference."""
    if options.tokenized:
        source, target = ([" ".join(line.split()) for line in side] for side in text)
        references = map_chunks(partial(detokenise, options.target), target, workers, label)
    else:
        source, target = (
            map_chunks(partial(tokenise, language), side, workers, f"{label}.{language}")
            for side, language in zip(text, options.languages, strict=True)
        )
        references = [line.strip() for line in text.target]
    return [Pair(*(line.lower() for line in lines)) for lines in zip(source, target, references, strict=True)]


def is_clean(pair: Pair, max_length: int, max_ratio: float) -> bool:
    """Whether Moses' clean-corpus-n (minimum 1) would keep the pair."""
    words = pair.source.split(), pair.target.split()
    shorter, longer = sorted(len(side) for side in words)
    if shorter < 1 or longer > max_length or longer / shorter > max_ratio:
        return False
    return all(len(word) <= MAX_WORD_LENGTH for side in words for word in side)


def split_pairs(corpus: Corpus, options: Options, workers: int) -> tuple[dict[str, list[Pair]], int]:
    """Prepare every split.

    Returns: the pairs by split, and how many train pairs the cleaning dropped.
    Raises: PrepareError if a split ends up empty.
    """
    pairs = {split: to_pairs(text, options, workers, split) for split, text in corpus.text.items()}
    clean = [pair for pair in pairs["train"] if is_clean(pair, options.max_length, options.max_ratio)]
    dropped = len(pairs["train"]) - len(clean)
    pairs["train"] = clean
    every = corpus.valid_every
    if every is not None:
        pairs["valid"] = clean[every - 1 :: every]
        pairs["train"] = [pair for number, pair in enumerate(clean, 1) if number % every != 0]
    for split in SPLITS:
        if not pairs[split]:
            carved = every is not None and split == "valid"
            origin = f" (one in {every} of the {len(clean)} clean train pairs)" if carved else ""
            raise PrepareError(
                f"the {split} split is empty{origin}, {dropped:,} train pairs were dropped by --max-length "
                "and --max-ratio: every split needs at least one pair"
            )
    return pairs, dropped
