"""Tensors on disk: what is written is read, and nothing else."""

import json
import random

import pytest
import torch
from safetensors.torch import save_file

from fairseq_dlf.core.files.tensor_file import read_tensor_file, require_float32, write_tensor_file
from fairseq_dlf.core.support.errors import InputError, MissingFileError

HEADER = {"model": "mlp", "sizes": [1, 2], "share": 0.1, "name": "Φ"}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.safetensors"


def test_what_is_written_is_read(path):
    tensors = {"a": torch.randn(2, 3).t(), "b": torch.tensor(7), "c": torch.ones(3, dtype=torch.bfloat16)}
    write_tensor_file(path, "student", tensors, HEADER)
    found = read_tensor_file(path, "student")
    assert found.header == HEADER
    assert set(found.tensors) == {"a", "b", "c"}
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in tensors.items())


def test_the_same_content_gives_the_same_bytes(path):
    made = set()
    for _ in range(8):
        write_tensor_file(path, "student", {"b": torch.ones(2), "a": torch.zeros(3)}, HEADER)
        made.add(path.read_bytes())
    assert len(made) == 1


def test_files_of_the_version_without_checksums_are_read(path):
    save_file({"a": torch.ones(2)}, path, metadata={"fairseq_dlf_student": json.dumps(HEADER)})
    found = read_tensor_file(path, "student")
    assert found.header == HEADER and torch.equal(found.tensors["a"], torch.ones(2))


def test_a_flipped_bit_is_refused_wherever_it_is(path):
    """Also in the names of the fields of the header that hold the checksum."""
    torch.manual_seed(1)
    tensors = {"values": torch.randn(4, 3), "keys": torch.randn(2, 3)}
    write_tensor_file(path, "student", tensors, HEADER)
    whole, draw, refused = path.read_bytes(), random.Random(1), 0
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << draw.randrange(8)
        path.write_bytes(flipped)
        try:
            found = read_tensor_file(path, "student")
        except InputError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            refused += 1
            continue
        # Flips in the names of the checksum's fields leave none of the wanted fields; one of 'a' in '\\u03a6', all.
        same = found.header == HEADER and all(torch.equal(found.tensors[name], tensors[name]) for name in tensors)
        assert same or found.header.keys().isdisjoint(HEADER), (place, found.header)
    assert refused > 0.9 * len(whole)


def test_a_changed_element_is_refused(path):
    write_tensor_file(path, "student", {"a": torch.ones(100)}, HEADER)
    whole = bytearray(path.read_bytes())
    whole[-1] ^= 1
    path.write_bytes(whole)
    with pytest.raises(InputError, match="x.safetensors is damaged: its content does not fit its checksum; fetch it"):
        read_tensor_file(path, "student")


def test_files_of_another_kind_are_refused(path, tmp_path):
    write_tensor_file(path, "student", {"a": torch.ones(1)}, {})
    with pytest.raises(InputError, match="no teacher header: it is not a teacher"):
        read_tensor_file(path, "teacher")
    save_file({"a": torch.ones(1)}, path)
    with pytest.raises(InputError, match="no student header"):
        read_tensor_file(path, "student")
    for content in (b"text", b""):
        path.write_bytes(content)
        with pytest.raises(InputError, match="x.safetensors is not a safetensors file, or is damaged"):
            read_tensor_file(path, "student")
    with pytest.raises(InputError, match="is not a safetensors file, or is damaged"):
        read_tensor_file(tmp_path, "student")
    with pytest.raises(MissingFileError, match="there is no file .*nowhere: pass a student's .safetensors file"):
        read_tensor_file(tmp_path / "nowhere", "student")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it holds no JSON"),
        ("nonsense", "it holds no JSON"),
        ("null", "its student header holds no fields"),
        ("17", "its student header holds no fields"),
        ('["a"]', "its student header holds no fields"),
        ("[" * 100_000, "it holds no JSON"),
        ('{"checksum": 3, "header": {}}', "its content does not fit its checksum"),
        ('{"checksum": null, "header": null}', "its content does not fit its checksum"),
    ],
)
def test_a_damaged_header_is_named(path, text, words):
    save_file({"a": torch.ones(1)}, path, metadata={"fairseq_dlf_student": text})
    with pytest.raises(InputError, match=f"x.safetensors is damaged: {words}"):
        read_tensor_file(path, "student")


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (torch.ones(2, dtype=torch.bfloat16), "the tensor a of x is bfloat16, but must be float32: teach again"),
        (torch.ones(2, dtype=torch.float64), "is float64, but must be float32"),
        (torch.ones(2, dtype=torch.int64), "is int64, but must be float32"),
        (torch.tensor([1.0, float("nan"), float("inf")]), "the tensor a of x has 2 elements that are infinite or NaN"),
    ],
)
def test_tensors_that_cannot_be_used_are_named(tmp_path, tensor, words):
    require_float32(tmp_path, {"a": torch.tensor([1e30, 0.0]), "b": torch.empty(0)})
    with pytest.raises(InputError, match=words.replace(" x ", f" {tmp_path} ")):
        require_float32(tmp_path, {"b": torch.ones(1), "a": tensor}, "teach again")
