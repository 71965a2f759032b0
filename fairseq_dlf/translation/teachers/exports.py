"""Exports of a run's teachers as safetensors, beside its checkpoints."""

import re
from pathlib import Path

from fairseq_dlf.translation.teachers.files import export_checkpoint

# Names of the checkpoints that fairseq may remove again.
_OF_RUNS = re.compile(r"checkpoint(\d+|_\d+_\d+|\.best_.*)")


def export_saved(saved: Path) -> None:
    """Export the checkpoint that fairseq has just saved, and its copies; remove exports of removed checkpoints.

    Args:
        saved: the checkpoint that fairseq names; a copy that is not newer than its export is not exported again.
    """
    folder = saved.parent
    for name in sorted({saved.name, "checkpoint_best.pt", "checkpoint_last.pt"}):
        checkpoint = folder / name
        exported = checkpoint.with_suffix(".safetensors")
        if not checkpoint.exists():
            continue
        if not exported.exists() or exported.stat().st_mtime_ns < checkpoint.stat().st_mtime_ns:
            export_checkpoint(checkpoint)
    # fairseq removes the checkpoints that --keep-interval-updates and similar options do not keep, but not our exports.
    for exported in folder.glob("checkpoint*.safetensors"):
        if _OF_RUNS.fullmatch(exported.stem) and not exported.with_suffix(".pt").exists():
            exported.unlink(missing_ok=True)
