"""Data sets from small files: sizes of splits, what is drawn, what is centred, and what is refused."""

import gzip
import hashlib
import struct
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from fairseq_dlf.images.data import downloads
from fairseq_dlf.images.data.splits import load_image_data

TRAIN, TEST = 60, 7


def write_mnist(folder, train=TRAIN, test=TEST, test_size=4, labels=None):
    """Every pixel of training image n is n, of test image n it is 200 + n; labels are n mod 10."""
    folder.mkdir(parents=True, exist_ok=True)
    for prefix, count, first, size in (("train", train, 0, 4), ("t10k", test, 200, test_size)):
        pixels = np.repeat(np.arange(first, first + count, dtype=np.uint8), size * 4).tobytes()
        chosen = bytes(labels or [number % 10 for number in range(count)])
        images = struct.pack(">4I", 2051, count, size, 4) + pixels
        (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        numbers = struct.pack(">2I", 2049, count) + chosen
        (folder / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(numbers))


def write_cifar(folder, name, train, test):
    rng = np.random.default_rng(1)
    shares = {"cifar10": [train // 5] * 5 + [test], "cifar100": [train, test]}[name]
    files = [f"data_batch_{n}.bin" for n in range(1, 6)] + ["test_batch.bin"]
    for file, count in zip({"cifar10": files, "cifar100": ["train.bin", "test.bin"]}[name], shares, strict=True):
        heads = rng.integers(10, size=(count, 1 if name == "cifar10" else 2), dtype=np.uint8)
        pixels = rng.integers(256, size=(count, 3072), dtype=np.uint8)
        (folder / file).write_bytes(np.concatenate([heads, pixels], axis=1).tobytes())


def write_folder(folder, counts):
    """`counts`: images by split; their pixels are their numbers."""
    for split, count in counts.items():
        for number in range(count):
            path = folder / split / ("even", "odd")[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((2, 3), number, dtype=np.uint8)).save(path)


@pytest.fixture
def mnist(tmp_path):
    write_mnist(tmp_path)
    return f"mnist:{tmp_path}"


def sizes(data):
    return tuple(len(split.labels) for split in (data.train, data.dev, data.test))


def numbers(images, mean):
    """The numbers of MNIST's images above, from their centred pixels."""
    found = 255 * images[:, 0] + mean
    assert torch.allclose(found, found.round(), atol=1e-3)
    return found[:, 0, 0].round().int().tolist()


def train_mean(data, whole=TRAIN):
    """The mean number of train, from what is centred by it: all numbers below `whole` are in train or dev."""
    centred = torch.cat([data.train.images, data.dev.images])[:, 0, 0, 0].sum() * 255
    return ((whole - 1) * whole / 2 - float(centred)) / whole


@pytest.mark.parametrize(("train", "dev"), [(60, 10), (59, 10), (57, 10), (56, 9)])
def test_a_sixth_of_mnist_is_dev(tmp_path, train, dev):
    write_mnist(tmp_path, train=train)
    data = load_image_data(f"mnist:{tmp_path}")
    assert (data.name, data.classes, data.shape, data.augments) == ("mnist", 10, (1, 4, 4), False)
    assert sizes(data) == (train - dev, dev, TEST)
    assert data.class_names == tuple("0123456789")


@pytest.mark.parametrize(("name", "classes", "last"), [("cifar10", 10, "truck"), ("cifar100", 100, "class 99")])
def test_a_tenth_of_cifar_is_dev(tmp_path, name, classes, last):
    write_cifar(tmp_path, name, train=40, test=6)
    data = load_image_data(f"{name}:{tmp_path}")
    assert (data.name, data.classes, data.shape, data.augments) == (name, classes, (3, 32, 32), True)
    assert sizes(data) == (36, 4, 6) and data.class_names[-1] == last


def test_digits():
    data = load_image_data("digits", split_seed=1)
    assert (data.name, data.classes, data.shape, data.augments) == ("digits", 10, (1, 8, 8), False)
    assert sizes(data) == (1198, 240, 359)
    # Every pixel is 0 in some digit, which gives the mean away.
    mean = -16 * torch.cat([split.images for split in (data.train, data.dev, data.test)]).amin(dim=0)
    for split in (data.train, data.dev, data.test):
        pixels = 16 * split.images + mean
        assert torch.allclose(pixels, pixels.round(), atol=1e-3)
        assert (pixels.round().min(), pixels.round().max()) == (0, 16)
        assert split.labels.unique().tolist() == list(range(10))


@pytest.mark.parametrize(
    ("counts", "wanted"), [({"train": 30}, (20, 4, 6)), ({"train": 30, "test": 8}, (25, 5, 8))], ids=["drawn", "own"]
)
def test_folders_with_and_without_test(tmp_path, counts, wanted):
    write_folder(tmp_path, counts)
    data = load_image_data(f"folder:{tmp_path}")
    assert (data.name, data.class_names, data.shape, data.augments) == ("folder", ("even", "odd"), (1, 2, 3), False)
    assert sizes(data) == wanted
    # Centred pixels differ by whole numbers, even or odd as the labels do.
    images = 255 * data.train.images[:, 0, 0, 0]
    assert torch.equal((images - images[0]).round().long() % 2, (data.train.labels - data.train.labels[0]) % 2)


def test_images_are_centred_by_train_and_keep_their_labels(mnist):
    data = load_image_data(mnist)
    assert data.train.images.dtype == torch.float32 and data.train.labels.dtype == torch.int64
    assert float(data.train.images.mean(dim=0).abs().max()) < 1e-6
    mean = train_mean(data)
    found = {name: numbers(getattr(data, name).images, mean) for name in ("train", "dev", "test")}
    assert sorted(found["train"] + found["dev"]) == list(range(TRAIN))
    assert found["train"] != sorted(found["train"])
    assert found["test"] == list(range(200, 200 + TEST))
    assert abs(mean - sum(found["train"]) / len(found["train"])) < 1e-3
    for name, values in found.items():
        assert getattr(data, name).labels.tolist() == [value % 10 for value in values]


def test_the_mean_is_of_every_pixel_and_channel(tmp_path):
    write_cifar(tmp_path, "cifar10", train=40, test=6)
    data = load_image_data(f"cifar10:{tmp_path}")
    assert float(data.train.images.mean(dim=0).abs().max()) < 1e-6
    raw = np.fromfile(tmp_path / "test_batch.bin", np.uint8).reshape(6, 3073)[:, 1:].reshape(6, 3, 32, 32) / 255
    means = torch.from_numpy(raw) - data.test.images
    assert float((means - means[0]).abs().max()) < 1e-6
    assert means.min() > 0 and means.max() < 1 and means[0].std() > 0.01


@pytest.mark.parametrize("spec", ["mnist", "digits", "folder"])
def test_the_seed_draws_dev_but_not_test(tmp_path, spec):
    write_mnist(tmp_path)
    write_folder(tmp_path, {"train": 30})
    spec = spec if spec == "digits" else f"{spec}:{tmp_path}"
    first, again, other = (load_image_data(spec, split_seed=seed) for seed in (1, 1, 2))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert torch.equal(first.dev.images, again.dev.images)
    assert not torch.equal(first.dev.images, other.dev.images)
    assert torch.equal(first.test.labels, other.test.labels)
    # Up to the mean, which is another one, the test images are the same.
    shift = first.test.images - other.test.images
    assert float((shift - shift[0]).abs().max()) < 1e-5


def test_fewer_training_images_are_the_first_ones(mnist):
    whole, part = load_image_data(mnist), load_image_data(mnist, train_images=20)
    assert sizes(part) == (20, 10, TEST)
    assert torch.equal(part.train.labels, whole.train.labels[:20])
    assert torch.equal(part.dev.labels, whole.dev.labels)
    assert float(part.train.images.mean(dim=0).abs().max()) < 1e-6
    assert part.fingerprint != whole.fingerprint
    assert load_image_data(mnist, train_images=50).fingerprint == whole.fingerprint


def test_the_fingerprint_is_as_documented(mnist):
    data = load_image_data(mnist)
    digest = hashlib.sha256(b"mnist")
    for split in (data.train, data.dev, data.test):
        pixels = numbers(split.images, train_mean(data))
        digest.update(np.repeat(np.array(pixels, dtype=np.uint8), 16).tobytes())
        digest.update(split.labels.numpy().astype("<i8").tobytes())
    assert data.fingerprint == digest.hexdigest()[:8]


def test_moves_to_a_device(mnist):
    moved = load_image_data(mnist).to("meta")
    devices = {tensor.device.type for split in (moved.train, moved.dev, moved.test) for tensor in split}
    assert devices == {"meta"} and moved.shape == (1, 4, 4)


def test_the_home_folder_may_be_a_tilde(mnist, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_image_data("mnist:~").fingerprint == load_image_data(mnist).fingerprint


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("imagenet:x", "no data set 'imagenet': pass digits, mnist:DIR, cifar10:DIR, cifar100:DIR or folder:DIR"),
        ("", "no data set ''"),
        ("mnist", "'mnist' names no folder: pass mnist:DIR"),
        ("cifar100:", "'cifar100:' names no folder: pass cifar100:DIR"),
        ("digits:x", "come with scikit-learn, but 'digits:x' names a folder: pass digits"),
    ],
)
def test_refuses_other_descriptions(spec, words):
    with pytest.raises(ValueError, match=words):
        load_image_data(spec)


@pytest.mark.parametrize("count", [51, -1])
def test_refuses_more_training_images_than_there_are(mnist, count):
    with pytest.raises(ValueError, match=f"{count} training images are wanted, but mnist:.* has 50 without dev"):
        load_image_data(mnist, train_images=count)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"test": 0}, r"the test split of mnist:.* is empty \(50 train, 10 dev, 0 test images\)"),
        ({"train": 2}, r"the dev split of mnist:.* is empty \(2 train, 0 dev, 7 test images\)"),
        ({"train": 0}, r"the train split of mnist:.* is empty \(0 train, 0 dev, 7 test images\)"),
        ({"test_size": 5}, "test images of mnist:.* are 1x5x4, but train images 1x4x4"),
        ({"train": 7, "labels": [3] * 6 + [10]}, r"a label of mnist:.* is 10, but its 10 classes go from 0 to 9"),
    ],
)
def test_refuses_unsound_splits(tmp_path, change, words):
    write_mnist(tmp_path, **change)
    with pytest.raises(ValueError, match=words):
        load_image_data(f"mnist:{tmp_path}")


@pytest.mark.parametrize("spec", ["mnist", "cifar10", "cifar100"])
def test_missing_files_are_an_error_without_download(tmp_path, spec):
    with pytest.raises(FileNotFoundError, match=f"in {tmp_path}.*or have them fetched"):
        load_image_data(f"{spec}:{tmp_path}")


def test_downloads_only_what_is_missing_and_asked_for(tmp_path, monkeypatch):
    write_mnist(tmp_path / "mirror")
    archives = [
        downloads.Archive(path.name, hashlib.md5(path.read_bytes()).hexdigest(), [f"{path.parent.as_uri()}/"])
        for path in sorted((tmp_path / "mirror").iterdir())
    ]
    monkeypatch.setitem(downloads.ARCHIVES, "mnist", archives)
    fetched = load_image_data(f"mnist:{tmp_path}/new", download=True)
    assert fetched.fingerprint == load_image_data(f"mnist:{tmp_path}/mirror").fingerprint
    monkeypatch.setitem(downloads.ARCHIVES, "mnist", [downloads.Archive("never", "", [])])
    assert load_image_data(f"mnist:{tmp_path}/new", download=True).fingerprint == fetched.fingerprint


def test_nothing_can_be_fetched_for_a_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no .*/train/CLASS"):
        load_image_data(f"folder:{tmp_path}", download=True)


def test_says_that_scikit_learn_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(RuntimeError, match="pip install scikit-learn"):
        load_image_data("digits")
