"""The folder of a preparation: steps that are finished stay, a failed one leaves nothing behind."""

import json
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fairseq_dlf.core.files.replacement import flush, naming_full_disk, replacing
from fairseq_dlf.core.files.run_folder import LOCK_NAME
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.translation.corpus.messages import say
from fairseq_dlf.translation.corpus.settings import BPE_MODELS, POSITIONS, SPLITS, PreparationSettings

MANIFEST = "prepare.json"
PART = ".part"
# What a run may leave that was stopped before it wrote its first manifest.
_BEGINNINGS = {LOCK_NAME, PART, f"{MANIFEST}.tmp"}
# Settings that manifests of earlier versions lack, with what they stood at.
_LATER_SETTINGS = {"max_positions": POSITIONS, "train_pairs": 0, "misaligned": 0.0, "cut_seed": 1}
# What a step tells the manifest.
Facts = dict[str, Any]


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write UTF-8 lines with line feeds on every system."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)


def remove(path: Path) -> None:
    """Remove a file or a folder; nothing happens where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def require_own(out: Path) -> None:
    """Raise an error where a folder holds something, but no manifest.

    Raises:
        InputError: its files are not from a preparation.
    """
    if not out.is_dir() or (out / MANIFEST).exists():
        return
    if any(path.name not in _BEGINNINGS for path in out.iterdir()):
        raise InputError(
            f"{out} is not empty and has no {MANIFEST}, so its files are not from dlf-prepare: "
            "name a folder that is new or empty",
            setting="out",
        )


class Workspace:
    """The folder of the result: finished steps are kept, a failed one leaves nothing behind.

    A step writes into OUT/.part; its files are renamed into place, and only then is it
    entered in the manifest. Whatever stops it between, the next run repeats it.

    Args:
        out: the folder, which `open` makes ready.
        settings: of this preparation.
        record: what the manifest holds.
    """

    def __init__(self, out: Path, settings: PreparationSettings, record: dict[str, Any]):
        self.out = out
        self.settings = settings
        self.record = record
        self.outputs = {
            "tokenise": [f"tokenized/{name}" for name in settings.text_files]
            + [f"raw/{split}.{settings.target}" for split in ("valid", "test")],
            "learn": [BPE_MODELS[settings.bpe]],
            "segment": [f"bpe.{name}" for name in settings.text_files],
            "binarise": ["bin"],
        }

    @classmethod
    def open(cls, out: Path, settings: PreparationSettings, overwrite: bool = False) -> "Workspace":
        """Make a folder ready: go on from its manifest, or begin one once nothing of another run is in the way.

        Raises:
            InputError: the folder holds something else, or the result of other settings.
        """
        require_own(out)
        remove(out / PART)
        manifest = out / MANIFEST
        options = json.loads(json.dumps(asdict(settings)))
        if manifest.exists() and not overwrite:
            record = _read_manifest(manifest)
            if record["options"] == options:
                return cls(out, settings, record)
            if record["finished"]:
                _refuse(out, record["options"], options)
        workspace = cls(out, settings, {"options": options, "finished": {}})
        workspace._save()
        workspace._clear()
        return workspace

    def fact(self, step: str, name: str) -> int:
        """Return a number that a finished step told the manifest; 0 where an earlier version did not."""
        return int(self.record["finished"][step].get(name, 0))

    def is_finished(self, step: str) -> bool:
        """Say whether the manifest has the step and its files are still there."""
        return step in self.record["finished"] and all((self.out / name).exists() for name in self.outputs[step])

    def run(self, step: str, title: str, work: Callable[[Path], Facts]) -> None:
        """Run one step unless it is finished.

        Args:
            step: a key of `outputs`.
            title: what the progress line says.
            work: writes the step's outputs under the folder it is given; returns facts for the manifest.

        Raises:
            DiskError: the disk is full.
        """
        earlier = list(self.outputs)[: list(self.outputs).index(step)]
        number = f"[{len(earlier) + 1}/{len(self.outputs)}]"
        if self.is_finished(step):
            say(f"{number} {title}: done before")
            return
        say(f"{number} {title}")
        facts = self._write(step, work)
        # Only the steps before this one still fit what it wrote.
        finished = {name: self.record["finished"][name] for name in earlier} | {step: facts}
        self.record = self.record | {"finished": finished}
        self._save()

    def _write(self, step: str, work: Callable[[Path], Facts]) -> Facts:
        part = self.out / PART
        try:
            with naming_full_disk(self.out):
                part.mkdir()
                facts = work(part)
                for name in self.outputs[step]:
                    place = self.out / name
                    place.parent.mkdir(exist_ok=True)
                    remove(place)
                    flush(part / name)
                    os.replace(part / name, place)
        finally:
            remove(part)
        return facts

    def _save(self) -> None:
        with replacing(self.out / MANIFEST) as partial:
            write_lines(partial, [json.dumps(self.record, indent=2)])

    def _clear(self) -> None:
        for name in ("tokenized", "raw", "bin", *BPE_MODELS.values()):
            remove(self.out / name)
        for split in SPLITS:
            for path in self.out.glob(f"bpe.{split}.*"):
                remove(path)


def _read_manifest(manifest: Path) -> dict[str, Any]:
    """Return what a manifest holds, with the settings that earlier versions did not have.

    Raises:
        InputError: it is damaged, or something else.
    """
    try:
        record = json.loads(manifest.read_text(encoding="utf-8"))
        options = {**_LATER_SETTINGS, **record["options"]}
        finished = {str(step): dict(facts) for step, facts in record["finished"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError) as error:
        raise InputError(
            f"{manifest} cannot be read, it is damaged or not from dlf-prepare: overwrite the folder to prepare again",
            setting="overwrite",
        ) from error
    return {"options": options, "finished": finished}


def _refuse(out: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    names = [name for name in now if before.get(name) != now[name] and name != "inputs"]
    changes = [f"{name} was {before.get(name)}, is now {now[name]}" for name in names]
    reason = ", ".join(changes) or "the input files have changed"
    raise InputError(
        f"{out} was prepared with other options ({reason}): name another folder for the result, or overwrite this one",
        setting="overwrite",
    )
