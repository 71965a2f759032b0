"""What a comparison of systems is asked for."""

from dataclasses import dataclass
from pathlib import Path

from fairseq_dlf.translation.bleu.resampling import SEED, TRIALS


@dataclass(frozen=True)
class System:
    """A named system with one generated file for each seed."""

    name: str
    files: tuple[Path, ...]


@dataclass(frozen=True)
class ScoreSettings:
    """How outputs are read, scored and tested.

    Attributes:
        bpe: mark of a subword that goes on; "" for none.
        target_lang: language to detokenise for.
        bootstrap: resamples of an interval, 1 or more.
        shuffles: of a test, 1 or more.
        seed: of both, 1 or more.
    """

    bpe: str = "@@ "
    target_lang: str = "en"
    bootstrap: int = 1000
    shuffles: int = TRIALS
    seed: int = SEED
