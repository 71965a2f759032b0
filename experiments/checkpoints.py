"""Which checkpoints of finished students are still needed: those of chosen settings, and of what may be chosen."""

from collections.abc import Iterator
from pathlib import Path

from experiments.records import Records
from experiments.runs import AVERAGE, AVERAGE_MARK, BEST, student_task
from experiments.selection import choose, tuning_records
from experiments.table import Table


def superfluous(table: Table, records: Records, out: Path) -> Iterator[Path]:
    """Yield the checkpoints below `out` that nothing will read any more.

    A student with a record keeps its best checkpoint and the last ones until its column is decided. Of the chosen
    setting the best one stays for good, the last ones until their average is recorded.
    """
    for column in table.columns:
        chosen = choose(tuning_records(table, column, records))
        for row in table.rows:
            for seed in table.seeds(row, column):
                for setting in column.settings:
                    name = student_task(table, row, seed, column, setting).name
                    if records.read(name) is None:
                        continue
                    if chosen is not None and setting != chosen:
                        kept = set()
                    elif records.read(name + AVERAGE_MARK) is not None:
                        kept = {BEST}
                    else:
                        kept = {BEST, *interval_checkpoints(out / name)}
                    yield from (path for path in checkpoints(out / name) if path.name not in kept)


def checkpoints(folder: Path) -> list[Path]:
    """Return all checkpoints of a run."""
    return sorted(path for path in (*folder.glob("checkpoint*.pt"), folder / AVERAGE) if path.is_file())


def interval_checkpoints(folder: Path) -> list[str]:
    """Return the names of the checkpoints that were saved at validations."""
    return sorted(path.name for path in folder.glob("checkpoint_*_*.pt"))


def kept_bytes(folder: Path) -> int:
    """Return what the checkpoints of a run take on the disk."""
    return sum(path.stat().st_size for path in checkpoints(folder))
