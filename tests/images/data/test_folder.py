"""Folders of images: classes, colours, sizes, and what is refused."""

import sys

import numpy as np
import pytest
from PIL import Image

from fairseq_dlf.images.data.folder import read_image_folder

COLOUR = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
GREY = COLOUR[..., 0]


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "train/dog/b.png", GREY + 1)
    write(tmp_path / "train/dog/a.BMP", GREY + 2)
    write(tmp_path / "train/cat/c.png", GREY + 3)
    return tmp_path


def test_reads_grey_images_in_order(folder):
    (folder / "train/dog/notes.txt").write_text("no image")
    (folder / "train/.hidden").mkdir()
    found = read_image_folder(folder)
    assert found.class_names == ("cat", "dog") and set(found.splits) == {"train"}
    pixels, labels = found.splits["train"]
    assert labels.tolist() == [0, 1, 1]
    assert np.array_equal(pixels.numpy(), np.stack([GREY + 3, GREY + 2, GREY + 1])[:, None])


def test_one_image_with_colours_gives_all_three_channels(folder):
    write(folder / "test/cat/x.png", COLOUR)
    write(folder / "test/dog/x.png", GREY)
    splits = read_image_folder(folder).splits
    pixels, labels = splits["test"]
    assert labels.tolist() == [0, 1]
    assert np.array_equal(pixels[0].numpy(), COLOUR.transpose(2, 0, 1))
    assert np.array_equal(pixels[1].numpy(), np.stack([GREY] * 3))
    assert splits["train"][0].shape == (3, 3, 4, 5)


def test_jpeg_palette_and_transparency(tmp_path):
    flat = np.full((4, 5, 3), (200, 100, 50), dtype=np.uint8)
    write(tmp_path / "train/a/1.jpg", flat)
    Image.fromarray(flat).quantize(4).save(tmp_path / "train/a/2.png")
    Image.fromarray(flat).convert("RGBA").save(tmp_path / "train/a/3.png")
    pixels, _ = read_image_folder(tmp_path).splits["train"]
    assert pixels.shape == (3, 3, 4, 5)
    assert np.abs(pixels.numpy().astype(int) - flat.transpose(2, 0, 1)).max() <= 3


@pytest.mark.parametrize("split", ["train", "test"])
def test_refuses_another_size(folder, split):
    write(folder / "test/cat/x.png", GREY)
    write(folder / "test/dog/x.png", GREY)
    write(folder / split / "dog/y.png", GREY[:3])
    words = rf"{split}/dog/y.png is 5x3 pixels, but .*train/cat/c.png 5x4: scale or crop"
    with pytest.raises(ValueError, match=words):
        read_image_folder(folder)


def test_refuses_other_classes_in_test(folder):
    write(folder / "test/cat/x.png", GREY)
    with pytest.raises(ValueError, match="test has the classes cat, but train has cat, dog"):
        read_image_folder(folder)


def test_missing_folders_and_images_are_named(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match="there is no .*nothing/train/CLASS: put the images"):
        read_image_folder(tmp_path / "nothing")
    (folder / "train/eel").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no image \(.png, .jpg, .jpeg, .bmp\) in .*train/eel"):
        read_image_folder(folder)


@pytest.mark.parametrize("length", [0, 20, 45])
def test_refuses_damaged_images(folder, length):
    path = folder / "train/dog/b.png"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match="train/dog/b.png cannot be read as an image"):
        read_image_folder(folder)


def test_refuses_sixteen_bits(folder):
    write(folder / "train/dog/z.png", GREY.astype(np.uint16) * 200)
    with pytest.raises(ValueError, match="z.png is of Pillow's mode I.*, but 8 bits a channel are wanted"):
        read_image_folder(folder)


def test_says_that_pillow_is_missing(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(RuntimeError, match="needs Pillow: pip install pillow"):
        read_image_folder(folder)
