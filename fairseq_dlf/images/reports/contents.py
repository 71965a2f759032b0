"""What the folders of `teach`, `adapt` and `train` hold that can be drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fairseq_dlf.core.support.errors import InputError, MissingFileError
from fairseq_dlf.core.teaching.loop.journal import LOG_NAME, TeacherStep, read_steps
from fairseq_dlf.figures import labels_of
from fairseq_dlf.images.records.coefficients import PATH_NAME, CoefficientPath, read_coefficients
from fairseq_dlf.images.records.training import RECORD_NAME, Run, find_runs, run_files


@dataclass(frozen=True)
class Contents:
    """Contents of a folder.

    Attributes:
        label: the folder's name, as no other folder's.
        steps: of a teacher; empty where there is none.
        run: finished trainings of one setting; None where there is none.
        path: Φ along a run, of the first seed where there are several; None where there is none.
    """

    label: str
    steps: list[TeacherStep]
    run: Run | None
    path: CoefficientPath | None

    @property
    def taught(self) -> bool:
        """Whether the loss of the folder's students was chosen by what raised a measure of dev."""
        return self.run is not None and (bool(self.steps) or self.run.records[0].teacher is not None)

    @property
    def seed(self) -> str:
        """Which run Φ is of, where it is not the only one: ', seed 1 of 3'; else nothing."""
        count = 0 if self.run is None else len(self.run.records)
        return f", seed {self.run.records[0].seed} of {count}" if self.run is not None and count > 1 else ""


def contents_of(folders: Sequence[Path]) -> list[Contents]:
    """Read folders.

    Raises:
        MissingFileError: a folder does not exist.
        InputError: a folder holds nothing to plot, or was given twice.
    """
    return [_contents(folder, label) for folder, label in zip(folders, labels_of(folders, "folder"), strict=True)]


def _contents(folder: Path, label: str) -> Contents:
    if not folder.is_dir():
        raise MissingFileError(f"there is no folder {folder}: pass folders that `teach` and `train` have written")
    log, paths = folder / LOG_NAME, run_files(folder, PATH_NAME)
    contents = Contents(
        label,
        steps=read_steps(log) if log.is_file() else [],
        run=find_runs([folder])[0] if run_files(folder, RECORD_NAME) else None,
        path=read_coefficients(paths[0]) if paths else None,
    )
    if not (contents.steps or contents.run or contents.path):
        raise InputError(
            f"{folder} holds nothing to plot ({LOG_NAME}, {PATH_NAME} or {RECORD_NAME}): pass folders of "
            "`teach`, or of `train` at its end"
        )
    return contents
