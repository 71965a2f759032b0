"""Small image data whose classes can be told apart, and settings to match."""

import dataclasses

import pytest
import torch

from fairseq_dlf.images.data.splits import ImageData, ImageSet
from fairseq_dlf.images.students.settings import StudentSettings

CLASSES = 3


def image_set(count, shape, generator):
    """Images with a bright place that depends on the class, in noise."""
    labels = torch.randint(CLASSES, (count,), generator=generator)
    images = 0.5 * torch.randn(count, *shape, generator=generator)
    images[torch.arange(count), :, 2 * labels, 2 * labels] += 2.0
    return ImageSet(images, labels)


@pytest.fixture
def data():
    """`data(shape)`: 60 train, 30 dev and 20 test images of 3 classes."""

    def build(shape=(1, 6, 6), augments=False):
        generator = torch.Generator().manual_seed(1)
        splits = [image_set(count, shape, generator) for count in (60, 30, 20)]
        return ImageData("mnist", ("a", "b", "c"), *splits, augments=augments, fingerprint="0" * 8)

    return build


@pytest.fixture
def student():
    """`student(**changes)`: an MLP of 5 units, 2 epochs of 6 updates."""
    plain = StudentSettings("mlp-5", batch_size=10, learning_rate=0.3, epochs=2.0, progress_points=4)
    return lambda **changes: dataclasses.replace(plain, **changes)
