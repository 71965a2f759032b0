"""Batches of a run; each depends on (seed, update) alone."""

from typing import NamedTuple

import torch
from torch import Tensor

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.support.seeds import mixed_seed
from fairseq_dlf.images.data.splits import ImageSet

PADDING = 4
# Salts keep the order of an epoch and the augmentation of a batch apart.
ORDER_SALT, AUGMENT_SALT = 1, 2


class Batch(NamedTuple):
    """Input of one update of the student.

    Attributes:
        images: (n, channels, height, width), float32.
        labels: (n,), int64.
    """

    images: Tensor
    labels: Tensor


class Batches:
    """Batches of a run: batch t depends on (seed, t) alone, so that it can be made again, in any order.

    Args:
        data: the training images; batches are on their device.
        batch_size: number of images in a batch.
        seed: of the order and the augmentation.
        augments: whether images are flipped and cropped.

    Raises:
        InputError: the batch is empty or larger than the set.

    Attributes:
        steps_per_epoch: number of batches in an epoch; shuffled images that do not fill a batch are dropped.

    Cost: the order of one epoch in memory; a new order is drawn when the epoch changes.
    Paper: section 5.1.
    """

    def __init__(self, data: ImageSet, batch_size: int, seed: int, augments: bool = False):
        count = len(data.labels)
        if not 1 <= batch_size <= count:
            raise InputError(
                f"the batch size is {batch_size:,}, but must lie between 1 and the {count:,} training images",
                setting="batch_size",
            )
        self.data = data
        self.batch_size = batch_size
        self.seed = seed
        self.augments = augments
        self.steps_per_epoch = count // batch_size
        self._epoch: int | None = None
        self._order = torch.empty(0, dtype=torch.int64)

    def batch(self, t: int) -> Batch:
        """Return the batch of update t, counted from 0."""
        epoch, place = divmod(t, self.steps_per_epoch)
        chosen = self._order_of(epoch)[place * self.batch_size : (place + 1) * self.batch_size]
        # On the CPU this takes at most a third of the time of indexing by brackets.
        images, labels = (part.index_select(0, chosen) for part in self.data)
        if self.augments:
            images = augmented(images, _generator(self.seed, AUGMENT_SALT, t))
        return Batch(images, labels)

    def _order_of(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            labels = self.data.labels
            order = torch.randperm(len(labels), generator=_generator(self.seed, ORDER_SALT, epoch))
            self._epoch, self._order = epoch, order.to(labels.device)
        return self._order


def augmented(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return the images with random horizontal flips and random crops after reflecting 4 pixels at each side.

    Args:
        images: (n, channels, height, width), any dtype and device.
        generator: on the CPU; draws separate numbers for every image.

    Returns:
        A tensor of the same shape, dtype and device.

    Raises:
        InputError: the images are too small to be reflected.

    Cost: one gather; 0.4 ms for 128 images of 3x32x32 on one core.
    Paper: section 5.1.
    """
    count, channels, height, width = images.shape
    if min(height, width) <= PADDING:
        raise InputError(
            f"the images are {height}x{width}, but reflecting them by {PADDING} pixels takes at least "
            f"{PADDING + 1}x{PADDING + 1}: do not augment them"
        )
    device = images.device
    shifts = torch.randint(-PADDING, PADDING + 1, (2, count, 1), generator=generator).to(device)
    flips = torch.randint(2, (count, 1), generator=generator, dtype=torch.bool).to(device)
    rows = _reflected(shifts[0] + torch.arange(height, device=device), height)
    columns = _reflected(shifts[1] + torch.arange(width, device=device), width)
    columns = torch.where(flips, columns.flip(1), columns)
    places = (rows.unsqueeze(2) * width + columns.unsqueeze(1)).view(count, 1, -1)  # (n, 1, height * width)
    return images.flatten(2).gather(2, places.expand(-1, channels, -1)).view(images.shape)


def _reflected(places: Tensor, size: int) -> Tensor:
    """Mirror places outside [0, size) at the pixels of the edge, which are not repeated."""
    last = size - 1
    return last - (last - places.abs()).abs()


def _generator(*numbers: int) -> torch.Generator:
    return torch.Generator().manual_seed(mixed_seed(*numbers))
