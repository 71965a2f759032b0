"""What a preparation is asked for."""

import re
from dataclasses import dataclass, field

from fairseq_dlf.core.support.checks import require_at_least, require_between
from fairseq_dlf.core.support.errors import InputError

SPLITS = ("train", "valid", "test")
BPE_MODELS = {"subword_nmt": "code", "sentencepiece": "sentencepiece.model"}
MAX_BPE_TOKENS = 100_000
# fairseq's default of --max-source-positions and --max-target-positions; the end of a sentence takes one.
POSITIONS = 1024


@dataclass(frozen=True)
class PreparationSettings:
    """All that changes the result; kept in the manifest and compared on the next run.

    Attributes:
        corpus: the front end's name.
        source, target: language codes, as in the file names.
        bpe: a key of `BPE_MODELS`.
        bpe_tokens: merge operations (subword_nmt) or pieces (sentencepiece).
        tokenized: whether the input is Moses-tokenised already.
        max_length: longest train sentence kept, in tokens.
        max_ratio: largest ratio of the two lengths of a train pair kept.
        inputs: sha256 of every file read, by file name.
        max_positions: longest sentence of the models, in subwords with the end of the sentence.
        train_pairs: how many clean train pairs are kept, at random; 0 keeps all.
        misaligned: share of the train pairs that get the target of another.
        cut_seed: of both.

    Raises:
        InputError: a value is out of range.
    """

    corpus: str
    source: str
    target: str
    bpe: str
    bpe_tokens: int
    tokenized: bool
    max_length: int
    max_ratio: float
    inputs: dict[str, str] = field(default_factory=dict)
    max_positions: int = POSITIONS
    train_pairs: int = 0
    misaligned: float = 0.0
    cut_seed: int = 1

    def __post_init__(self) -> None:
        if self.bpe not in BPE_MODELS:
            raise InputError(f"bpe is {self.bpe!r}, wanted one of {', '.join(BPE_MODELS)}", setting="bpe")
        require_between(1, MAX_BPE_TOKENS, bpe_tokens=self.bpe_tokens)
        require_at_least(1, max_length=self.max_length)
        require_at_least(1, max_ratio=self.max_ratio)
        require_at_least(2, max_positions=self.max_positions)
        require_at_least(0, train_pairs=self.train_pairs)
        require_between(0.0, 1.0, misaligned=self.misaligned)
        if self.source == self.target:
            raise InputError(f"both languages are {self.source}: name two", setting="target_lang")
        for language, setting in ((self.source, "source_lang"), (self.target, "target_lang")):
            if not re.fullmatch(r"[A-Za-z][A-Za-z_-]*", language):
                raise InputError(f"language {language!r} is not a code such as de or en: name one", setting=setting)

    @property
    def languages(self) -> tuple[str, str]:
        """The source's code and the target's."""
        return self.source, self.target

    @property
    def text_files(self) -> list[str]:
        """Names of the files of a text: train.de, train.en, valid.de, …"""
        return [f"{split}.{language}" for split in SPLITS for language in self.languages]
