"""MNIST's files: names, headers, and every way to be damaged."""

import gzip
import struct
import tracemalloc

import pytest
import torch

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.images.data.mnist import read_idx, read_mnist

PIXELS = torch.arange(3 * 2 * 4, dtype=torch.uint8).view(3, 2, 4)
LABELS = torch.tensor([7, 0, 9], dtype=torch.uint8)


def idx(values, magic=None):
    header = struct.pack(f">{1 + values.dim()}I", magic or 0x800 + values.dim(), *values.shape)
    return header + bytes(values.flatten().tolist())


def write(path, content):
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.mark.parametrize("ending", ["-idx{}-ubyte.gz", "-idx{}-ubyte", ".idx{}-ubyte", ".idx{}-ubyte.gz"])
@pytest.mark.parametrize(("split", "prefix"), [("train", "train"), ("test", "t10k")])
def test_reads_all_names(tmp_path, ending, split, prefix):
    write(tmp_path / f"{prefix}-images{ending.format(3)}", idx(PIXELS))
    write(tmp_path / f"{prefix}-labels{ending.format(1)}", idx(LABELS))
    pixels, labels = read_mnist(tmp_path, split)
    assert pixels.dtype == torch.uint8 and labels.dtype == torch.int64
    assert torch.equal(pixels, PIXELS.unsqueeze(1))
    assert labels.tolist() == [7, 0, 9]


def test_missing_files_are_named(tmp_path):
    write(tmp_path / "t10k-images-idx3-ubyte", idx(PIXELS))
    words = r"none of t10k-labels-idx1-ubyte.gz, t10k-labels-idx1-ubyte, t10k-labels.idx1-ubyte.gz, .* in .*: put"
    with pytest.raises(FileNotFoundError, match=words) as caught:
        read_mnist(tmp_path, "test")
    assert str(tmp_path) in str(caught.value)


def test_images_and_labels_must_be_as_many(tmp_path):
    write(tmp_path / "train-images-idx3-ubyte", idx(PIXELS))
    write(tmp_path / "train-labels-idx1-ubyte", idx(LABELS[:2]))
    with pytest.raises(ValueError, match="holds 3 images, but .*train-labels-idx1-ubyte 2 labels"):
        read_mnist(tmp_path, "train")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (idx(LABELS), "magic number 2049, but .* 3 dimensions with 2051"),
        (idx(PIXELS, magic=0x0D03), "magic number 3331, but .* with 2051"),
        (gzip.compress(idx(PIXELS)), "magic number .*, but .* a .gz file lacks its ending"),
        (b"", "magic number 0, but"),
        (idx(PIXELS)[:-1], "has 39 bytes, but 40 by its header: it is truncated"),
        (idx(PIXELS)[:10], "has 10 bytes, but .* by its header"),
        (idx(PIXELS) + b"x", "has more bytes than that, but 40 by its header"),
    ],
)
def test_refuses_damaged_files(tmp_path, content, words):
    path = tmp_path / "images"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words) as caught:
        read_idx(path, 3)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [gzip.compress(idx(PIXELS))[:-12], idx(PIXELS), gzip.compress(idx(PIXELS))[:-8] + bytes(8)],
    ids=["truncated", "plain", "checksum"],
)
def test_refuses_damaged_gz_files(tmp_path, content):
    path = tmp_path / "images.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="images.gz is corrupt .*fetch it again"):
        read_idx(path, 3)


def test_an_empty_set_is_read(tmp_path):
    path = tmp_path / "images"
    path.write_bytes(idx(PIXELS[:0]))
    assert read_idx(path, 3).shape == (0, 2, 4)


def test_a_gz_file_is_unpacked_no_further_than_its_header_tells(tmp_path):
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(idx(PIXELS) + bytes(2**26)))
    tracemalloc.start()
    with pytest.raises(InputError, match="images.gz has more bytes than that, but 40 by its header"):
        read_idx(path, 3)
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


def test_a_header_that_tells_of_too_much_is_refused(tmp_path):
    path = tmp_path / "images"
    path.write_bytes(idx(PIXELS)[:4] + (2**31 - 1).to_bytes(4, "big") * 3)
    with pytest.raises(InputError, match="by its header, more than the 2.0 GiB that are read: it is damaged"):
        read_idx(path, 3)


def test_flattened_images_are_refused(tmp_path):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(torch.zeros(2, 1, 784, dtype=torch.uint8)))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(LABELS[:2]))
    with pytest.raises(InputError, match="holds images of 1 x 784 pixels"):
        read_mnist(tmp_path, "train")
