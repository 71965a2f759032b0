"""Which checkpoints a folder of fairseq-train holds, by their names."""

import re
from pathlib import Path

from fairseq_dlf.core.support.errors import InputError, MissingFileError

FILE_NAMES = {
    "epoch": re.compile(r"^checkpoint(\d+)\.pt$"),
    "update": re.compile(r"^checkpoint_\d+_(\d+)\.pt$"),
}


def last_checkpoints(directory: Path, last: int, by: str = "epoch") -> list[Path]:
    """Return the newest checkpoints of a directory, oldest first.

    Args:
        directory: a `--save-dir` of fairseq-train.
        last: how many.
        by: "epoch" for checkpointE.pt, "update" for checkpoint_E_U.pt.

    Raises:
        MissingFileError: there is no such directory.
        InputError: it holds fewer.
    """
    if not directory.is_dir():
        raise MissingFileError(
            f"checkpoint directory not found: {directory}: pass a --save-dir of fairseq-train", setting="checkpoint_dir"
        )
    numbered = {
        int(match.group(1)): path
        for path in directory.iterdir()
        if (match := FILE_NAMES[by].match(path.name)) is not None
    }
    if len(numbered) < last:
        raise InputError(
            f"got {len(numbered)} checkpoints by {by} in {directory}, wanted {last}: "
            "train without --no-epoch-checkpoints, or choose epoch or update as they were saved",
            setting="by",
        )
    return [numbered[number] for number in sorted(numbered)[-last:]]
