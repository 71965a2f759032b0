"""Subwords: learning a joint BPE, applying it, and the sentences that are too long for a model."""

import io
import sys
from collections.abc import Iterable, Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import NamedTuple

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.translation.corpus.settings import PreparationSettings


def learn_bpe(lines: Iterable[str], settings: PreparationSettings, model: Path) -> None:
    """Learn a joint BPE and write it to `model`.

    Raises:
        InputError: the text cannot give it.
    """
    learn = learn_subword_nmt if settings.bpe == "subword_nmt" else learn_sentencepiece
    try:
        learn(lines, settings.bpe_tokens, model)
    except (ValueError, RuntimeError) as error:  # how the two packages refuse a text or a size
        reason = " ".join(str(error).split())
        raise InputError(
            f"{settings.bpe} cannot learn {settings.bpe_tokens:,} subwords from this train split "
            f"({reason}): choose another number of them, or add text",
            setting="bpe_tokens",
        ) from error


def learn_subword_nmt(lines: Iterable[str], merges: int, model: Path) -> None:
    """Learn as `subword-nmt learn-bpe -s merges` does."""
    from subword_nmt.learn_bpe import learn_bpe as learn

    # Its progress bar does not ask whether anyone is looking.
    terminal = sys.stderr if sys.stderr.isatty() else io.StringIO()
    with open(model, "w", encoding="utf-8", newline="\n") as file, redirect_stderr(terminal):
        learn(lines, file, merges)


def learn_sentencepiece(lines: Iterable[str], pieces: int, model: Path) -> None:
    """Learn a BPE by sentencepiece with the text left as it is (no Unicode normalisation)."""
    from sentencepiece import SentencePieceTrainer

    content = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=content,
        vocab_size=pieces,
        model_type="bpe",
        character_coverage=1.0,
        normalization_rule_name="identity",
        max_sentence_length=1_000_000,
        minloglevel=2,
    )
    model.write_bytes(content.getvalue())


def segment(bpe: str, model: Path, lines: list[str]) -> list[str]:
    """Split tokenised lines into subwords, joined by spaces."""
    if bpe == "subword_nmt":
        from subword_nmt.apply_bpe import BPE

        with open(model, encoding="utf-8") as codes:
            splitter = BPE(codes)
        return [splitter.process_line(line) for line in lines]
    from sentencepiece import SentencePieceProcessor

    pieces = SentencePieceProcessor(model_file=str(model)).encode(lines, out_type=str)
    return [" ".join(line) for line in pieces]


# What is too long -----------------------------------------------------------------


class Fitting(NamedTuple):
    """Both sides of the pairs that a model has the positions for, and how many pairs were dropped."""

    sides: list[list[str]]
    dropped: int


def drop_too_long(sides: Sequence[list[str]], max_positions: int) -> Fitting:
    """Leave out the pairs with a side that is too long for a model, as fairseq-train would."""
    pairs = list(zip(*sides, strict=True))
    kept = [pair for pair in pairs if all(positions_of(line) <= max_positions for line in pair)]
    return Fitting([list(side) for side in zip(*kept, strict=True)] or [[], []], len(pairs) - len(kept))


def require_no_too_long(lines: Sequence[str], name: str, max_positions: int) -> None:
    """Raise an error where a sentence is too long for a model, as dev and test are never changed silently.

    Args:
        lines: subwords joined by spaces.
        name: the text that they come from, line by line.

    Raises:
        InputError: with the first such line.
    """
    for number, line in enumerate(lines, start=1):
        length = positions_of(line)
        if length > max_positions:
            raise InputError(
                f"line {number:,} of {name} has {length - 1:,} subwords, more than the {max_positions - 1:,} that "
                "models take by default, and dev and test are not changed here: shorten the sentence in the input or "
                "leave out the pair, or allow for more and train with as many --max-source-positions and "
                "--max-target-positions",
                setting="max_positions",
            )


def positions_of(line: str) -> int:
    """Return how many positions a line of subwords takes in a model, its end included."""
    return len(line.split()) + 1
