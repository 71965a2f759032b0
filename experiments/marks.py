"""What a run's folder keeps of its start: the command, and the commits of the code that worked on it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from fairseq_dlf.core.files.fields import parse_json, read_dataclass, read_text
from fairseq_dlf.core.files.replacement import replacing

NAME = "started.json"


@dataclass(frozen=True)
class Mark:
    """The start of a run.

    Attributes:
        command: with placeholders for folders.
        commits: one, or several where a run went on with later code.
    """

    command: str
    commits: tuple[str, ...]


def read_mark(folder: Path) -> Mark | None:
    """Return the mark of a folder, or None if we did not begin the run in it."""
    path = folder / NAME
    if not path.is_file():
        return None
    remedy = f"delete {folder} to run it again"
    return read_dataclass(Mark, parse_json(read_text(path, remedy), path, remedy), path, remedy)


def leave_mark(folder: Path, command: str, commit: str) -> None:
    """Write down that the code of a commit works on a run."""
    before = read_mark(folder)
    commits = () if before is None else before.commits
    folder.mkdir(parents=True, exist_ok=True)
    mark = Mark(command, commits if commit in commits else (*commits, commit))
    with replacing(folder / NAME) as partial:
        partial.write_text(json.dumps(asdict(mark), indent=1) + "\n", encoding="utf-8")
