"""Subwords: learning a joint BPE and applying it."""

import io
import sys
from collections.abc import Iterable
from contextlib import redirect_stderr
from pathlib import Path

from fairseq_dlf.translation.corpus.corpora import PrepareError
from fairseq_dlf.translation.corpus.tokens import Options

BPE_MODELS = {"subword_nmt": "code", "sentencepiece": "sentencepiece.model"}
MAX_BPE_TOKENS = 100_000


def learn_bpe(lines: Iterable[str], options: Options, model: Path) -> None:
    """Learn a joint BPE and write it to ``model``. Raises: PrepareError if the text cannot give it."""
    learn = learn_subword_nmt if options.bpe == "subword_nmt" else learn_sentencepiece
    try:
        learn(lines, options.bpe_tokens, model)
    except (ValueError, RuntimeError) as err:  # how the two packages refuse a text or a size
        reason = " ".join(str(err).split())
        raise PrepareError(
            f"{options.bpe} cannot learn --bpe-tokens {options.bpe_tokens:,} from this train split "
            f"({reason}): pass another --bpe-tokens or more text"
        ) from None


def learn_subword_nmt(lines: Iterable[str], merges: int, model: Path) -> None:
    """``subword-nmt learn-bpe -s merges``."""
    from subword_nmt.learn_bpe import learn_bpe as learn

    # Its progress bar does not ask whether anyone is looking.
    terminal = sys.stderr if sys.stderr.isatty() else io.StringIO()
    with open(model, "w", encoding="utf-8", newline="\n") as file, redirect_stderr(terminal):
        learn(lines, file, merges)


def learn_sentencepiece(lines: Iterable[str], pieces: int, model: Path) -> None:
    """BPE by sentencepiece with the text left as it is (no Unicode normalisation)."""
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
    with open(model, "wb") as file:
        file.write(content.getvalue())


def segment(bpe: str, model: Path, lines: list[str]) -> list[str]:
    """Split tokenised lines into subwords."""
    if bpe == "subword_nmt":
        from subword_nmt.apply_bpe import BPE

        with open(model, encoding="utf-8") as codes:
            splitter = BPE(codes)
        return [splitter.process_line(line) for line in lines]
    from sentencepiece import SentencePieceProcessor

    pieces = SentencePieceProcessor(model_file=str(model)).encode(lines, out_type=str)
    return [" ".join(line) for line in pieces]
