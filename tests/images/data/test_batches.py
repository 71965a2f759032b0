"""Batches: every image once an epoch, any order of asking, and what flips and crops do to pixels."""

import pytest
import torch

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.images.data.batches import PADDING, Batches, augmented
from fairseq_dlf.images.data.splits import ImageSet

COUNT, SIZE = 23, 5


@pytest.fixture
def numbered():
    """Images that tell their own number; every pixel is different."""
    images = torch.arange(COUNT * 3 * 10 * 11, dtype=torch.float32).view(COUNT, 3, 10, 11)
    return ImageSet(images, torch.arange(COUNT))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_an_epoch_has_every_image_at_most_once(numbered):
    batches = Batches(numbered, SIZE, seed=3)
    assert batches.steps_per_epoch == 4
    epochs = []
    for epoch in range(3):
        chosen = torch.cat([batches.batch(4 * epoch + place).labels for place in range(4)])
        assert len(chosen.unique()) == 4 * SIZE
        epochs.append(chosen.tolist())
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    assert sorted(epochs[0]) != sorted(epochs[1])


def test_images_belong_to_their_labels(numbered):
    batch = Batches(numbered, SIZE, seed=3).batch(7)
    assert batch.images.dtype == torch.float32 and batch.labels.dtype == torch.int64
    assert torch.equal(batch.images, numbered.images[batch.labels])


@pytest.mark.parametrize("augments", [False, True])
def test_batches_are_the_same_in_any_order(numbered, augments):
    forward = Batches(numbered, SIZE, 3, augments)
    wanted = [forward.batch(t) for t in range(12)]
    backward = Batches(numbered, SIZE, 3, augments)
    for t in (11, 4, 3, 8, 0, 3):
        found = backward.batch(t)
        assert torch.equal(found.labels, wanted[t].labels) and torch.equal(found.images, wanted[t].images)


def test_the_seed_changes_order_and_augmentation(numbered):
    first, second = (Batches(numbered, COUNT, seed, augments=True).batch(0) for seed in (1, 2))
    assert not torch.equal(first.labels, second.labels)
    by_label = [batch.images[batch.labels.argsort()] for batch in (first, second)]
    assert not torch.equal(*by_label)


def test_global_randomness_is_left_alone(numbered):
    before = torch.get_rng_state()
    Batches(numbered, SIZE, 3, augments=True).batch(0)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("size", [0, -1, COUNT + 1])
def test_refuses_batches_that_cannot_be(numbered, size):
    with pytest.raises(InputError, match=f"batch size is {size}, but must lie between 1 and the {COUNT}") as error:
        Batches(numbered, size, seed=0)
    assert error.value.setting == "batch_size"


def crops_of(image):
    """Every crop of the image that is reflected by 4 pixels, and its mirror image, by torch's own padding."""
    _, height, width = image.shape
    padded = torch.nn.functional.pad(image.unsqueeze(0), (PADDING,) * 4, mode="reflect")[0]
    shifts = range(2 * PADDING + 1)
    crops = [padded[:, top : top + height, left : left + width] for top in shifts for left in shifts]
    return torch.stack(crops + [crop.flip(2) for crop in crops])


def test_every_augmented_image_is_a_crop_of_the_reflected_one(numbered):
    for image, found in zip(numbered.images, augmented(numbered.images, generator()), strict=True):
        assert int((crops_of(image) == found).flatten(1).all(dim=1).sum()) == 1


def test_all_crops_and_flips_are_as_likely():
    draws = 10_000
    image = torch.rand(1, 10, 11, generator=generator())
    found = augmented(image.expand(draws, 1, 10, 11), generator(1)).flatten(1)
    kinds = (found.unsqueeze(1) == crops_of(image).flatten(1)).all(dim=2)
    assert (kinds.sum(dim=1) == 1).all()
    counts = kinds.sum(dim=0).double()
    expected = draws / 162
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert len(counts) == 162
    assert chi_square < 235  # the 99.99 % quantile for 161 degrees of freedom


def test_augmentation_repeats_with_its_generator_and_keeps_the_input(numbered):
    kept = numbered.images.clone()
    first, again, other = (augmented(numbered.images, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(numbered.images, kept)
    assert first.is_contiguous() and first.dtype == numbered.images.dtype


@pytest.mark.parametrize("shape", [(4, 9), (9, 4)])
def test_refuses_to_reflect_small_images(shape):
    with pytest.raises(ValueError, match=f"images are {shape[0]}x{shape[1]}.*by 4 pixels takes at least 5x5"):
        augmented(torch.zeros(2, 1, *shape), generator())
    assert augmented(torch.ones(2, 1, 5, 5), generator()).eq(1).all()
