"""The folder of a preparation: steps that are finished stay, a failed one leaves nothing behind."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

from fairseq_dlf.translation.corpus.corpora import SPLITS, PrepareError, decode_lines
from fairseq_dlf.translation.corpus.subwords import BPE_MODELS
from fairseq_dlf.translation.corpus.tokens import Options

MANIFEST = "prepare.json"
PART = ".part"


def read_lines(path: Path) -> list[str]:
    """Lines of a file that this program wrote."""
    return decode_lines(path.read_bytes(), path.name)


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


def say(line: str) -> None:
    """A line of progress."""
    print(line, file=sys.stderr, flush=True)


class Workspace:
    """The --out folder: finished steps are kept, a failed one leaves nothing behind.

    A step writes into OUT/.part; its files are renamed into place, and only then is it
    entered in the manifest. Whatever stops it between, the next run repeats it.
    """

    def __init__(self, out: Path, options: Options, overwrite: bool = False) -> None:
        self.out = out
        self.options = options
        self.outputs = {
            "tokenise": [f"tokenized/{name}" for name in options.text_files]
            + [f"raw/{split}.{options.target}" for split in ("valid", "test")],
            "learn": [BPE_MODELS[options.bpe]],
            "segment": [f"bpe.{name}" for name in options.text_files],
            "binarise": ["bin"],
        }
        out.mkdir(parents=True, exist_ok=True)
        remove(out / PART)
        self.record = self._open(overwrite)

    def _open(self, overwrite: bool) -> dict:
        """The record to go on from: the manifest's, or a new one once nothing of another run is in the way."""
        manifest = self.out / MANIFEST
        options = json.loads(json.dumps(asdict(self.options)))
        if manifest.exists() and not overwrite:
            record = self._read(manifest)
            if record["options"] == options:
                return record
            if record["finished"]:
                self._refuse(record["options"], options)
        elif not manifest.exists() and any(self.out.iterdir()):
            raise PrepareError(
                f"{self.out} is not empty and has no {MANIFEST}, so its files are not from dlf-prepare: "
                "pass an --out that is new or empty"
            )
        record = {"options": options, "finished": {}}
        self._save(record)
        self._clear()
        return record

    @staticmethod
    def _read(manifest: Path) -> dict:
        try:
            record = json.loads(manifest.read_text(encoding="utf-8"))
            return {"options": dict(record["options"]), "finished": dict(record["finished"])}
        except (ValueError, KeyError, TypeError):
            raise PrepareError(f"{manifest} cannot be read: pass --overwrite to prepare again") from None

    def _refuse(self, before: dict, now: dict) -> None:
        names = [name for name in now if before.get(name) != now[name] and name != "inputs"]
        changes = [f"{name} was {before.get(name)}, is now {now[name]}" for name in names]
        reason = ", ".join(changes) or "the input files have changed"
        raise PrepareError(
            f"{self.out} was prepared with other options ({reason}): pass another --out, or --overwrite to replace it"
        )

    def _save(self, record: dict) -> None:
        part = self.out / f"{MANIFEST}{PART}"
        try:
            write_lines(part, [json.dumps(record, indent=2)])
            os.replace(part, self.out / MANIFEST)
        finally:
            remove(part)

    def _clear(self) -> None:
        for name in ("tokenized", "raw", "bin", *BPE_MODELS.values()):
            remove(self.out / name)
        for split in SPLITS:
            for path in self.out.glob(f"bpe.{split}.*"):
                remove(path)

    def is_finished(self, step: str) -> bool:
        """Whether the manifest has the step and its files are still there."""
        return step in self.record["finished"] and all((self.out / name).exists() for name in self.outputs[step])

    def run(self, step: str, title: str, work: Callable[[Path], dict]) -> None:
        """Run one step unless it is finished.

        Args:
            step: a key of ``outputs``.
            title: what the progress line says.
            work: writes the step's outputs under the folder it is given; returns facts for the manifest.
        """
        earlier = list(self.outputs)[: list(self.outputs).index(step)]
        number = f"[{len(earlier) + 1}/{len(self.outputs)}]"
        if self.is_finished(step):
            say(f"{number} {title}: done before")
            return
        say(f"{number} {title}")
        part = self.out / PART
        try:
            part.mkdir()
            facts = work(part)
            for name in self.outputs[step]:
                place = self.out / name
                place.parent.mkdir(exist_ok=True)
                remove(place)
                os.replace(part / name, place)
        finally:
            remove(part)
        # Only the steps before this one still fit what it wrote.
        finished = {name: self.record["finished"][name] for name in earlier} | {step: facts}
        self.record = self.record | {"finished": finished}
        self._save(self.record)
