"""Ways to damage a file, each seeded: cut, flipped, foreign, wrongly typed, hostile."""

import copy
import gzip
import json
import math
import os
import pickle
import random
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save

from fairseq_dlf.core.files.tensor_file import write_tensor_file

Damage = Callable[[Path, random.Random], None]
# A hostile pickle makes this folder, beside the file, where it is executed.
EXECUTED = "executed"
_NESTED, _DEPTH = "a list in a list …", 100_000
_WRONG: Sequence[Any] = (
    *(None, "", "x", 5, -1, 0.5, 10**30, True, [], {}, [[]], {"x": 1}, [None]),
    *(math.nan, math.inf, -math.inf, _NESTED),
)


# Bytes, of any file --------------------------------------------------------------


def _truncated(path: Path, draw: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: draw.randrange(1, max(2, len(content)))])


def _flipped(path: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[draw.randrange(len(content))] ^= draw.randrange(1, 256)
    path.write_bytes(content)


def _zeroed(path: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    start = draw.randrange(len(content))
    count = min(draw.randrange(1, 65), len(content) - start)
    content[start : start + count] = bytes(count)
    path.write_bytes(content)


def _doubled(path: Path, draw: random.Random) -> None:
    path.write_bytes(2 * path.read_bytes())


def _empty(path: Path, draw: random.Random) -> None:
    path.write_bytes(b"")


def _text(path: Path, draw: random.Random) -> None:
    path.write_text("Not what you are looking for.\n")


def _noise(path: Path, draw: random.Random) -> None:
    path.write_bytes(draw.randbytes(draw.randrange(1, 400)))


def _foreign_zip(path: Path, draw: random.Random) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("letter.txt", "Dear reader")


def _directory(path: Path, draw: random.Random) -> None:
    path.unlink()
    path.mkdir()


class _Hostile:
    def __init__(self, folder: Path):
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder / EXECUTED),)


def _hostile_pickle(path: Path, draw: random.Random) -> None:
    path.write_bytes(pickle.dumps({"model": _Hostile(path.parent)}))


def _hostile_checkpoint(path: Path, draw: random.Random) -> None:
    torch.save({"model": _Hostile(path.parent)}, path)


BYTES: Mapping[str, Damage] = {
    "flipped": _flipped,
    "truncated": _truncated,
    "empty": _empty,
    "directory": _directory,
    "text": _text,
    "zeroed": _zeroed,
    "hostile pickle": _hostile_pickle,
    "hostile checkpoint": _hostile_checkpoint,
    "foreign zip": _foreign_zip,
    "doubled": _doubled,
    "noise": _noise,
}


# Documents -----------------------------------------------------------------------


def _wrong_value(document: Any, draw: random.Random) -> Any:
    place = draw.choice(list(_places(document)))
    return _with(document, place, draw.choice(_WRONG))


def _without_a_field(document: Any, draw: random.Random) -> Any:
    places = [place for place in _places(document) if place and isinstance(place[-1], str)]
    return _with(document, draw.choice(places), _GONE) if places else []


def _with_a_field(document: Any, draw: random.Random) -> Any:
    places = [place for place in _places(document) if isinstance(_at(document, place), dict)]
    return _with(document, (*draw.choice(places), "unheard_of"), 1) if places else [document]


_GONE = object()


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value of a document; of lists, the first three."""
    yield place
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _places(each, (*place, name))
    elif isinstance(value, (list, tuple)):
        for number, each in enumerate(value[:3]):
            yield from _places(each, (*place, number))


def _at(document: Any, place: tuple[Any, ...]) -> Any:
    for name in place:
        document = document[name]
    return document


def _with(document: Any, place: tuple[Any, ...], value: Any) -> Any:
    """Return a copy of a document with another value, or none, at a place."""
    if not place:
        return value
    changed = copy.copy(document)
    if isinstance(changed, tuple):
        changed = list(changed)
    if value is _GONE and len(place) == 1:
        del changed[place[0]]
    else:
        below = changed[place[0]] if len(place) > 1 else None
        changed[place[0]] = _with(below, place[1:], value)
    return changed


_CHANGES: Mapping[str, Callable[[Any, random.Random], Any]] = {
    "wrong value": _wrong_value,
    "missing field": _without_a_field,
    "unknown field": _with_a_field,
}


def _as_text(document: Any) -> str:
    return json.dumps(document).replace(json.dumps(_NESTED), "[" * _DEPTH + "]" * _DEPTH)


def _json(change: Callable[[Any, random.Random], Any]) -> Damage:
    def damaged(path: Path, draw: random.Random) -> None:
        path.write_text(_as_text(change(json.loads(path.read_text(encoding="utf-8")), draw)) + "\n")

    return damaged


def _rows(change: Callable[[Any, random.Random], Any]) -> Damage:
    def damaged(path: Path, draw: random.Random) -> None:
        lines = path.read_text(encoding="utf-8").splitlines()
        number = draw.randrange(len(lines))
        lines[number] = _as_text(change(json.loads(lines[number]), draw))
        path.write_text("".join(f"{line}\n" for line in lines))

    return damaged


def _reordered_rows(path: Path, draw: random.Random) -> None:
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(reversed(lines)))


JSON: Mapping[str, Damage] = {kind: _json(change) for kind, change in _CHANGES.items()}
ROWS: Mapping[str, Damage] = {f"{kind} of a row": _rows(change) for kind, change in _CHANGES.items()}
ROWS = {**ROWS, "reordered rows": _reordered_rows}


# Tensors -------------------------------------------------------------------------


def _read_tensors(path: Path) -> tuple[str, dict[str, torch.Tensor], Any]:
    """The key of our header, the tensors, and what the header holds."""
    with safe_open(str(path), framework="pt") as reader:
        ((key, header),) = reader.metadata().items()
        return key, {name: reader.get_tensor(name) for name in reader.keys()}, json.loads(header)  # noqa: SIM118


def _raw_header(change: Callable[[Any, random.Random], Any]) -> Damage:
    """Change our header and leave the rest, checksum included, as it was."""

    def damaged(path: Path, draw: random.Random) -> None:
        key, tensors, header = _read_tensors(path)
        path.write_bytes(save(tensors, metadata={key: _as_text(change(header, draw))}))

    return damaged


def _signed_header(change: Callable[[Any, random.Random], Any]) -> Damage:
    """Change our header, with a checksum to match."""

    def damaged(path: Path, draw: random.Random) -> None:
        key, tensors, header = _read_tensors(path)
        changed = change(header.get("header", header), draw)
        if not isinstance(changed, dict):
            changed = {"class_names": changed}
        write_tensor_file(path, key.removeprefix("fairseq_dlf_"), tensors, changed)

    return damaged


def _signed_tensors(change: Callable[[dict[str, torch.Tensor], str, random.Random], None]) -> Damage:
    """Change a tensor, with a checksum to match."""

    def damaged(path: Path, draw: random.Random) -> None:
        key, tensors, header = _read_tensors(path)
        change(tensors, draw.choice(sorted(tensors)), draw)
        write_tensor_file(path, key.removeprefix("fairseq_dlf_"), tensors, header.get("header", header))

    return damaged


def _no_json(path: Path, draw: random.Random) -> None:
    key, tensors, _ = _read_tensors(path)
    path.write_bytes(save(tensors, metadata={key: draw.choice(["", "{", "x", "[1,", '"', "\x00"])}))


def _huge_header(path: Path, draw: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(draw.choice([10**8, 2**31, 2**62, 2**64 - 1]).to_bytes(8, "little") + content[8:])


def _other_floats(tensors: dict[str, torch.Tensor], name: str, draw: random.Random) -> None:
    tensors[name] = tensors[name].to(draw.choice([torch.float64, torch.float16, torch.bfloat16]))


def _whole_numbers(tensors: dict[str, torch.Tensor], name: str, draw: random.Random) -> None:
    tensors[name] = tensors[name].to(draw.choice([torch.int64, torch.uint8, torch.bool]))


def _not_finite(tensors: dict[str, torch.Tensor], name: str, draw: random.Random) -> None:
    changed = tensors[name].clone()
    if not changed.is_floating_point():
        changed = changed.float()
    changed.view(-1)[draw.randrange(changed.numel())] = draw.choice([math.nan, math.inf, -math.inf])
    tensors[name] = changed


def _other_shape(tensors: dict[str, torch.Tensor], name: str, draw: random.Random) -> None:
    whole = tensors[name]
    tensors[name] = draw.choice([whole.flatten()[:-1].clone(), whole.unsqueeze(0), torch.zeros(0), whole.sum()])


def _missing_tensor(tensors: dict[str, torch.Tensor], name: str, draw: random.Random) -> None:
    del tensors[name]


def _extra_tensor(tensors: dict[str, torch.Tensor], name: str, draw: random.Random) -> None:
    tensors["unheard_of"] = torch.zeros(3)


_TENSOR_CHANGES: Mapping[str, Callable[[dict[str, torch.Tensor], str, random.Random], None]] = {
    "other floats": _other_floats,
    "whole numbers": _whole_numbers,
    "not finite": _not_finite,
    "other shape": _other_shape,
    "missing tensor": _missing_tensor,
    "extra tensor": _extra_tensor,
}
TENSORS: Mapping[str, Damage] = {
    **{kind: _signed_tensors(change) for kind, change in _TENSOR_CHANGES.items()},
    **{f"{kind} in the header": _signed_header(change) for kind, change in _CHANGES.items()},
    **{f"{kind} beside the checksum": _raw_header(change) for kind, change in _CHANGES.items()},
    "header is no JSON": _no_json,
    "huge header": _huge_header,
}


# torch.save ----------------------------------------------------------------------


def _resaved(change: Callable[[Any, random.Random], Any]) -> Damage:
    def damaged(path: Path, draw: random.Random) -> None:
        torch.save(change(torch.load(path, map_location="cpu", weights_only=True), draw), path)

    return damaged


def _resaved_tensors(change: Callable[[dict[str, torch.Tensor], str, random.Random], None], under: str) -> Damage:
    def damaged(path: Path, draw: random.Random) -> None:
        state = torch.load(path, map_location="cpu", weights_only=True)
        tensors = dict(state[under]) if under else state
        names = sorted(name for name, value in tensors.items() if isinstance(value, torch.Tensor) and value.numel())
        change(tensors, draw.choice(names), draw)
        torch.save({**state, under: tensors} if under else tensors, path)

    return damaged


def _packed_checkpoint(path: Path, draw: random.Random) -> None:
    """A small file that unpacks to a quarter of a gigabyte."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}q\x00.")
        with archive.open("archive/data/0", "w", force_zip64=True) as member:
            for _ in range(16):
                member.write(bytes(2**24))


def _old_format(path: Path, draw: random.Random) -> None:
    """The same content in the format before zip files, which is pickle throughout."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    torch.save(state, path, _use_new_zipfile_serialization=False)


def checkpoint(under: str) -> Mapping[str, Damage]:
    """Ways to damage what `torch.save` wrote.

    Args:
        under: where the tensors are; '' is the top.
    """
    return {
        **{f"{kind}, saved again": _resaved(change) for kind, change in _CHANGES.items()},
        **{f"{kind}, saved again": _resaved_tensors(change, under) for kind, change in _TENSOR_CHANGES.items()},
        "packed checkpoint": _packed_checkpoint,
        "old format": _old_format,
    }


# gzip ----------------------------------------------------------------------------


def _inside(change: Damage) -> Damage:
    def damaged(path: Path, draw: random.Random) -> None:
        aside = path.with_name("unpacked")
        aside.write_bytes(gzip.decompress(path.read_bytes()))
        change(aside, draw)
        path.write_bytes(gzip.compress(aside.read_bytes()))
        aside.unlink()

    return damaged


def _bomb(path: Path, draw: random.Random) -> None:
    """Two gigabytes of zeros in two megabytes, as 128 packed parts one after another."""
    path.write_bytes(128 * gzip.compress(bytes(2**24)))


GZIP: Mapping[str, Damage] = {
    f"{kind} inside": _inside(BYTES[kind]) for kind in ("flipped", "truncated", "empty", "zeroed", "noise", "doubled")
}
# Takes long where it is not refused: only where every file is read in a child with limits.
BOMBS: Mapping[str, Damage] = {"bomb": _bomb}
