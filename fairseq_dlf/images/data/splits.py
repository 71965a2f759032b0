"""Centred image data in three splits, read from a description such as `mnist:DIR`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from fairseq_dlf.core.support.digests import tensor_digest
from fairseq_dlf.core.support.errors import InputError, MissingFileError, StateError
from fairseq_dlf.core.support.signature import Part
from fairseq_dlf.images.data.cifar import cifar_class_names, read_cifar
from fairseq_dlf.images.data.downloads import ARCHIVES, fetch
from fairseq_dlf.images.data.folder import read_image_folder
from fairseq_dlf.images.data.mnist import read_mnist

# A data set without a test split of its own gives one image in so many to test.
TEST_SHARE = 5
_TEST_SEED = 0


class ImageSet(NamedTuple):
    """Images of a split.

    Attributes:
        images: (n, channels, height, width), float32: pixels in [0, 1] minus the per-pixel mean of the train split.
        labels: (n,), int64.
    """

    images: Tensor
    labels: Tensor

    def at(self, places: Tensor | slice) -> "ImageSet":
        """Return the images at some places, in the order of the places."""
        return ImageSet(self.images[places], self.labels[places])

    def to(self, device: torch.device | str) -> "ImageSet":
        """Return the same images on another device."""
        return ImageSet(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class ImageData:
    """A data set in three splits.

    Attributes:
        name: 'digits', 'mnist', 'cifar10', 'cifar100' or 'folder'.
        class_names: by label.
        train, dev, test: the splits.
        augments: whether flips and crops apply.
        fingerprint: first 8 hex digits of the SHA-256 over the name, then pixels and labels of each split.
    """

    name: str
    class_names: tuple[str, ...]
    train: ImageSet
    dev: ImageSet
    test: ImageSet
    augments: bool
    fingerprint: str

    @property
    def classes(self) -> int:
        return len(self.class_names)

    @property
    def signature(self) -> Part:
        """The fields of a signature that tell these images from others."""
        return {"data": self.name, "fingerprint": self.fingerprint, "train_images": len(self.train.labels)}

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        _, channels, height, width = self.train.images.shape
        return channels, height, width

    def to(self, device: torch.device | str) -> "ImageData":
        """Return the same data on another device."""
        return replace(self, train=self.train.to(device), dev=self.dev.to(device), test=self.test.to(device))


def load_image_data(spec: str, split_seed: int = 0, train_images: int = 0, download: bool = False) -> ImageData:
    """Read a data set, draw dev from its training images and centre all by the mean of train.

    Args:
        spec: `digits`, `mnist:DIR`, `cifar10:DIR`, `cifar100:DIR` or `folder:DIR`.
        split_seed: decides which images are dev, and the order of train. Test never depends on it.
        train_images: how many images of train to keep, the first ones in its order; 0 keeps all.
        download: whether archives of mnist and cifar are fetched into DIR where files are missing.

    Raises:
        InputError: the description names no data set, a file is damaged, or a split would be empty.
        MissingFileError: files are missing.
        StateError: a download failed, or a package is missing.

    Cost: about a second for MNIST and two for CIFAR; four bytes a pixel.
    Paper: section 5.1 (50,000/10,000 images of MNIST, 45,000/5,000 of CIFAR for train/dev).
    """
    name, folder = _parsed(spec)
    kind = _KINDS[name]
    source = _read(name, folder, download)
    splits = _split(source, kind.dev_share, split_seed)
    _require_sound(spec, splits, len(source.class_names))
    splits["train"] = _first(spec, splits["train"], train_images)
    images = {split: stored.pixels.float() for split, stored in splits.items()}
    # Pixels are whole numbers, whose sums are exact up to 65,000 images, whatever the number of threads.
    mean = images["train"].mean(dim=0)
    sets = {split: ImageSet(images[split].sub_(mean).div_(kind.white), splits[split].labels) for split in splits}
    return ImageData(name, source.class_names, **sets, augments=kind.augments, fingerprint=_fingerprint(name, splits))


class _Stored(NamedTuple):
    """Images as they are on disk: pixels (n, channels, height, width), uint8, and labels (n,), int64."""

    pixels: Tensor
    labels: Tensor

    def at(self, places: Tensor) -> "_Stored":
        return _Stored(self.pixels[places], self.labels[places])


class _Source(NamedTuple):
    """A data set as it is on disk; if it has no test split, a part of train will be used for test."""

    class_names: tuple[str, ...]
    train: _Stored
    test: _Stored | None


@dataclass(frozen=True)
class _Kind:
    """How a kind of data is read and split.

    Attributes:
        read: reads the data set from a folder.
        dev_share: one training image in so many goes to dev.
        white: the greatest value of a pixel.
        augments: as in `ImageData`.
    """

    read: Callable[[Path], _Source]
    dev_share: int = 6
    white: int = 255
    augments: bool = False


def _read_digits(folder: Path) -> _Source:
    try:
        # The import stands here because it takes a second and only these data need it.
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise StateError("the digits come with scikit-learn: pip install scikit-learn") from error
    pixels, labels = load_digits(return_X_y=True)
    stored = _Stored(torch.from_numpy(pixels).to(torch.uint8).view(-1, 1, 8, 8), torch.from_numpy(labels).long())
    return _Source(tuple("0123456789"), stored, None)


def _read_mnist(folder: Path) -> _Source:
    return _Source(tuple("0123456789"), *(_Stored(*read_mnist(folder, split)) for split in ("train", "test")))


def _read_cifar(name: str) -> Callable[[Path], _Source]:
    def read(folder: Path) -> _Source:
        train, test = (_Stored(*read_cifar(folder, name, split)) for split in ("train", "test"))
        return _Source(cifar_class_names(folder, name), train, test)

    return read


def _read_folder(folder: Path) -> _Source:
    images = read_image_folder(folder)
    test = images.splits.get("test")
    return _Source(images.class_names, _Stored(*images.splits["train"]), None if test is None else _Stored(*test))


_KINDS = {
    "digits": _Kind(_read_digits, white=16),
    "mnist": _Kind(_read_mnist),
    "cifar10": _Kind(_read_cifar("cifar10"), dev_share=10, augments=True),
    "cifar100": _Kind(_read_cifar("cifar100"), dev_share=10, augments=True),
    "folder": _Kind(_read_folder),
}


def _parsed(spec: str) -> tuple[str, Path]:
    name, _, folder = spec.partition(":")
    if name not in _KINDS:
        raise InputError(
            f"there is no data set {name!r}: pass digits, mnist:DIR, cifar10:DIR, cifar100:DIR or folder:DIR"
        )
    if name == "digits" and folder:
        raise InputError(f"the digits come with scikit-learn, but {spec!r} names a folder: pass digits")
    if name != "digits" and not folder:
        raise InputError(f"{spec!r} names no folder: pass {name}:DIR, where DIR holds the images")
    return name, Path(folder).expanduser()


def _read(name: str, folder: Path, download: bool) -> _Source:
    try:
        return _KINDS[name].read(folder)
    except MissingFileError:
        if not download or name not in ARCHIVES:
            raise
    fetch(ARCHIVES[name], folder)
    return _KINDS[name].read(folder)


def _split(source: _Source, dev_share: int, seed: int) -> dict[str, _Stored]:
    """Return train, dev and test, in this order."""
    rest, test = source.train, source.test
    if test is None:
        test, rest = _drawn(rest, TEST_SHARE, _TEST_SEED)
    dev, train = _drawn(rest, dev_share, seed)
    return {"train": train, "dev": dev, "test": test}


def _drawn(stored: _Stored, share: int, seed: int) -> tuple[_Stored, _Stored]:
    """Return one image in `share`, and the others, both shuffled."""
    order = torch.randperm(len(stored.labels), generator=torch.Generator().manual_seed(seed))
    count = round(len(order) / share)
    return stored.at(order[:count]), stored.at(order[count:])


def _first(spec: str, train: _Stored, count: int) -> _Stored:
    if not 0 <= count <= len(train.labels):
        raise InputError(
            f"{count:,} training images are wanted, but {spec} has {len(train.labels):,} without dev: "
            "pass no more than these, or 0 for all",
            setting="train_images",
        )
    return _Stored(train.pixels[:count], train.labels[:count]) if count else train


def _require_sound(spec: str, splits: Mapping[str, _Stored], classes: int) -> None:
    train = splits["train"]
    for name, stored in splits.items():
        if len(stored.labels) == 0:
            counts = ", ".join(f"{len(each.labels):,} {split}" for split, each in splits.items())
            raise InputError(f"the {name} split of {spec} is empty ({counts} images): pass more images")
        if stored.pixels.shape[1:] != train.pixels.shape[1:]:
            found, wanted = ("x".join(map(str, each.pixels.shape[1:])) for each in (stored, train))
            raise InputError(f"{name} images of {spec} are {found}, but train images {wanted}: pass one data set")
        least, greatest = int(stored.labels.min()), int(stored.labels.max())
        if not 0 <= least <= greatest < classes:
            raise InputError(
                f"a label of {spec} ({name}) is {greatest if least >= 0 else least}, but its {classes} classes go "
                f"from 0 to {classes - 1}: the file is damaged or of another data set"
            )


def _fingerprint(name: str, splits: Mapping[str, _Stored]) -> str:
    named = torch.frombuffer(bytearray(name.encode()), dtype=torch.uint8)
    return tensor_digest([named, *(part for stored in splits.values() for part in stored)])
