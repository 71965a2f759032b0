"""The user's own images, in one folder per class."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fairseq_dlf.core.support.errors import InputError, MissingFileError, StateError, brief

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp")
_GREY_MODES = ("1", "L", "LA")
_COLOUR_MODES = ("P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")


class ImageFolder(NamedTuple):
    """Images in folders named after their classes.

    Attributes:
        class_names: the names of the class folders, sorted.
        splits: pixels (n, channels, height, width), uint8, and labels (n,), int64, for
            'train' and, where the folder has it, 'test'.
    """

    class_names: tuple[str, ...]
    splits: dict[str, tuple[Tensor, Tensor]]


def read_image_folder(folder: Path) -> ImageFolder:
    """Read folder/train/CLASS/*.png (.jpg, .jpeg, .bmp) and, if it exists, folder/test.

    All images get one channel if all are grey, and three channels if any has colours.

    Raises:
        MissingFileError: a folder or all its images are missing.
        InputError: an image cannot be read or is of another size, or classes of train and test differ.
        StateError: Pillow is not installed.
    """
    class_names = _class_names(folder / "train")
    if not class_names:
        raise MissingFileError(f"there is no {folder}/train/CLASS: put the images of every class into such a folder")
    names = [name for name in ("train", "test") if (folder / name).is_dir()]
    splits = {name: _read_split(folder / name, class_names) for name in names}
    _require_one_size([labelled for split in splits.values() for labelled in split])
    channels = max(len(image.pixels) for split in splits.values() for image in split)
    return ImageFolder(class_names, {name: _stacked(split, channels) for name, split in splits.items()})


class _Image(NamedTuple):
    """A file's pixels (1 or 3, height, width), uint8, and the number of its class."""

    path: Path
    pixels: Tensor
    label: int


def _class_names(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        return ()
    return tuple(sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")))


def _read_split(folder: Path, class_names: tuple[str, ...]) -> list[_Image]:
    own_names = _class_names(folder)
    if own_names != class_names:
        raise InputError(
            f"{folder} has the classes {', '.join(own_names) or 'none'}, but train has {', '.join(class_names)}: "
            "give both the same folders"
        )
    images = []
    for label, name in enumerate(class_names):
        paths = sorted(path for path in (folder / name).iterdir() if path.suffix.lower() in ENDINGS)
        if not paths:
            raise MissingFileError(f"there is no image ({', '.join(ENDINGS)}) in {folder / name}: put some there")
        images += [_Image(path, _read(path), label) for path in paths]
    return images


def _read(path: Path) -> Tensor:
    try:
        from PIL import Image
    except ImportError as error:
        raise StateError("reading folders of images needs Pillow: pip install pillow") from error
    try:
        with Image.open(path) as image:
            mode, grey = image.mode, image.mode in _GREY_MODES
            readable = grey or mode in _COLOUR_MODES
            pixels = np.array(image.convert("L" if grey else "RGB")) if readable else None
    # Pillow raises all of these for damaged files; the last where a part claims to be huge.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, MemoryError) as error:
        raise InputError(f"{path} cannot be read as an image ({brief(error)}): replace or delete it") from error
    if pixels is None:
        raise InputError(f"{path} is of Pillow's mode {mode}, but 8 bits a channel are wanted: convert it")
    return torch.from_numpy(np.atleast_3d(pixels)).permute(2, 0, 1)


def _require_one_size(images: list[_Image]) -> None:
    first = images[0]
    for image in images:
        if image.pixels.shape[1:] != first.pixels.shape[1:]:
            (height, width), (wanted_height, wanted_width) = image.pixels.shape[1:], first.pixels.shape[1:]
            raise InputError(
                f"{image.path} is {width}x{height} pixels, but {first.path} {wanted_width}x{wanted_height}: "
                "scale or crop all images to one size"
            )


def _stacked(images: list[_Image], channels: int) -> tuple[Tensor, Tensor]:
    pixels = torch.stack([image.pixels.expand(channels, -1, -1) for image in images])
    return pixels, torch.tensor([image.label for image in images])
