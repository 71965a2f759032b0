"""CIFAR's binary versions: records, places, names of classes, and damage."""

import pytest
import torch

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.images.data.cifar import CIFAR_FILES, cifar_class_names, read_cifar

PIXELS = torch.randint(256, (6, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def records(pixels, labels, label_bytes):
    """Records whose coarse label, where there is one, is 99."""
    heads = [bytes([99] * (label_bytes - 1) + [label]) for label in labels]
    return b"".join(head + bytes(image.flatten().tolist()) for head, image in zip(heads, pixels, strict=True))


@pytest.fixture(params=["", "subfolder"])
def written(request, tmp_path):
    """`written(name)`: a folder with six training images and one of test, in it or one below."""

    def write(name):
        files = CIFAR_FILES[name]
        folder = tmp_path / files.subfolder if request.param else tmp_path
        folder.mkdir(exist_ok=True)
        parts = {"cifar10": (1, 2, 1, 1, 1), "cifar100": (6,)}[name]
        start = 0
        for file, count in zip(files.splits["train"], parts, strict=True):
            chosen = slice(start, start + count)
            (folder / file).write_bytes(records(PIXELS[chosen], range(6)[chosen], files.label_bytes))
            start += count
        (folder / files.splits["test"][0]).write_bytes(records(PIXELS[2:3], [8], files.label_bytes))
        return folder

    return write


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_reads_records(written, tmp_path, name):
    written(name)
    pixels, labels = read_cifar(tmp_path, name, "train")
    assert pixels.dtype == torch.uint8 and labels.dtype == torch.int64
    assert torch.equal(pixels, PIXELS) and labels.tolist() == [0, 1, 2, 3, 4, 5]
    pixels, labels = read_cifar(tmp_path, name, "test")
    assert torch.equal(pixels, PIXELS[2:3]) and labels.tolist() == [8]


@pytest.mark.parametrize(
    ("name", "count", "first", "last"), [("cifar10", 10, "airplane", "truck"), ("cifar100", 100, "class 0", "class 99")]
)
def test_names_of_classes(written, tmp_path, name, count, first, last):
    folder = written(name)
    names = cifar_class_names(tmp_path, name)
    assert (len(names), names[0], names[-1]) == (count, first, last)
    given = [f"name_{number}" for number in range(count)]
    path = folder / CIFAR_FILES[name].names_file
    path.write_text("\n".join(given) + "\n\n")
    assert cifar_class_names(tmp_path, name) == tuple(given)
    path.write_text("\n".join(given[1:]))
    with pytest.raises(ValueError, match=f"has {count - 1} class names, but {name} has {count} classes"):
        cifar_class_names(tmp_path, name)


def test_missing_files_are_named(written, tmp_path):
    (written("cifar10") / "data_batch_4.bin").unlink()
    words = "no data_batch_4.bin in .* or .*cifar-10-batches-bin: put the files of the binary version of cifar10"
    with pytest.raises(FileNotFoundError, match=words) as caught:
        read_cifar(tmp_path, "cifar10", "train")
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(("name", "file", "record"), [("cifar10", "data_batch_3", 3073), ("cifar100", "train", 3074)])
def test_refuses_truncated_files(written, tmp_path, name, file, record):
    path = written(name) / f"{file}.bin"
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    words = f"{file}.bin has {len(content) - 1:,} bytes, which is no multiple of the {record:,} bytes of an image"
    with pytest.raises(ValueError, match=words):
        read_cifar(tmp_path, name, "train")


def test_an_empty_file_is_refused(written, tmp_path):
    (written("cifar10") / "test_batch.bin").write_bytes(b"")
    with pytest.raises(InputError, match="test_batch.bin has 0 bytes, .*: it is empty, truncated or of another"):
        read_cifar(tmp_path, "cifar10", "test")
