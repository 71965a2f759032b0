"""Records of trainings that never happened, for the tests of what reads them."""

from collections.abc import Sequence
from pathlib import Path

from fairseq_dlf.images.records.training import EpochFigures, RunRecord, write_record

TEST_IMAGES = 200


def record(
    seed: int = 1,
    loss: str = "cross_entropy",
    wrong: Sequence[int] = (0, 1),
    curve: Sequence[float] = (0.5, 0.25),
    data: str = "mnist",
    model: str = "mlp",
    taught_on: str | None = None,
    images: int = TEST_IMAGES,
    fingerprint: str = "f00dcafe",
    options: str = "",
) -> RunRecord:
    """A record whose dev errors by epoch are `curve`, as shares, and whose student errs on `wrong`."""
    rows = [EpochFigures(number, 10 * number, 1.0, 0.9, 1.0 - error, 0.1) for number, error in enumerate(curve, 1)]
    return RunRecord(
        signature=f"dlf-images|{model}:fresh|{loss}({options})|data:{data}:{fingerprint}:1000|seed:{seed}|v0",
        data=data,
        model=model,
        loss=loss,
        teacher=None if taught_on is None else "a teacher",
        taught_on=taught_on,
        seed=seed,
        learning_rate=0.1,
        epochs=len(curve),
        parameters=1000,
        curve=tuple(rows),
        best_epoch=1 + min(range(len(curve)), key=lambda place: curve[place]),
        dev_error=100.0 * min(curve),
        test_error=100.0 * len(wrong) / images,
        test_images=images,
        test_wrong=tuple(wrong),
        elapsed_s=3.0,
        version="0",
    )


def write_run(folder: Path, records: Sequence[RunRecord]) -> Path:
    """Writes records where `train` leaves them; returns the folder."""
    for one in records:
        place = folder / f"seed{one.seed}"
        place.mkdir(parents=True)
        write_record(place / "record.json", one)
    return folder
