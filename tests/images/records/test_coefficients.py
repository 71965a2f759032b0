"""Φ along a run: what is written is read, and what is damaged is named."""

import pytest
import torch
from safetensors.torch import save_file

from fairseq_dlf.core.files.tensor_file import write_tensor_file
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.images.records import coefficients
from fairseq_dlf.images.records.coefficients import CoefficientPath, read_coefficients, write_coefficients

TENSORS = {"coefficients": torch.ones(2, 3, 3), "epochs": torch.tensor([0.0, 1.5])}
HEADER = {"class_names": ["a", "b", "c"], "data": "mnist", "model": "mlp"}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "coefficients.safetensors"


@pytest.mark.parametrize(
    ("form", "start", "size"), [("matrix", 0.2, 9), ("smoothed", 1.0, 6), ("loss_network", None, 5000), (None, None, 7)]
)
def test_coefficients_are_read_as_written(path, form, start, size):
    written = CoefficientPath(torch.randn(2, size), TENSORS["epochs"], ("a", "b", "c"), "mnist", "mlp", form, start)
    write_coefficients(path, written)
    found = read_coefficients(path)
    assert torch.equal(found.coefficients, written.coefficients) and torch.equal(found.epochs, written.epochs)
    names = ("class_names", "data", "model", "form", "phi_start")
    assert [getattr(found, name) for name in names] == [getattr(written, name) for name in names]


def test_matrices_of_the_first_version_are_read(path):
    write_tensor_file(path, "coefficients", TENSORS, HEADER)
    found = read_coefficients(path)
    assert found.is_matrix and torch.equal(found.matrices, TENSORS["coefficients"])
    assert found.phi_start is None and torch.equal(found.untaught, torch.ones(9))


def test_the_untaught_phi_is_a_multiple_of_the_neutral_one():
    made = CoefficientPath(torch.ones(1, 9), torch.zeros(1), ("a", "b", "c"), "mnist", "mlp", phi_start=0.2)
    assert torch.equal(made.untaught, 0.2 * torch.eye(3).flatten())


def test_many_coefficients_are_kept_at_fewer_points(path, monkeypatch):
    monkeypatch.setattr(coefficients, "MOST_NUMBERS", 30)
    values = torch.arange(101.0)[:, None].expand(101, 9).contiguous()
    write_coefficients(path, CoefficientPath(values, torch.arange(101.0), ("a", "b", "c"), "mnist", "mlp"))
    found = read_coefficients(path)
    assert found.epochs.tolist() == [0.0, 50.0, 100.0] == found.coefficients[:, 0].tolist()
    assert coefficients.thinned(1, 10**9) == [0] and coefficients.thinned(5, 10**9) == [0, 4]
    assert coefficients.thinned(3, 10) == [0, 1, 2]


def test_files_of_another_kind_are_no_coefficients(path):
    path.write_bytes(b"nonsense")
    with pytest.raises(InputError, match="is not a safetensors file, or is damaged"):
        read_coefficients(path)
    save_file({"coefficients": torch.eye(2)}, path)
    with pytest.raises(InputError, match="has no coefficients header"):
        read_coefficients(path)


@pytest.mark.parametrize(
    ("tensors", "header", "words"),
    [
        ({}, {"class_names": 5}, "class_names is 5, wanted a list"),
        ({}, {"class_names": ["a", "b", None]}, r"class_names\[2\] is None, wanted text"),
        ({}, {"data": None}, "data is None, wanted text"),
        ({}, {"form": "nonsense"}, "there is no form"),
        ({}, {"phi_start": "half"}, "phi_start is 'half', wanted"),
        ({}, {"form": "smoothed"}, "which do not fit"),
        ({}, {"mood": 1}, "unknown fields 'mood'"),
        ({"more": torch.ones(1)}, {}, r"holds \['coefficients', 'epochs', 'more'\], but must hold coefficients and"),
        (
            {"coefficients": torch.ones(2, 3, 3).bfloat16()},
            {},
            "the tensor coefficients of .* is bfloat16",
        ),
        ({"epochs": torch.tensor([0.0, float("nan")])}, {}, "the tensor epochs of .* has 1 elements that are infinite"),
        (
            {"epochs": torch.tensor(1.0)},
            {},
            "coefficients of .2, 3, 3. at epochs of .. for 3 classes, which",
        ),
        ({"epochs": torch.ones(3)}, {}, "which do not fit"),
        ({}, {"class_names": ["a", "b"]}, "for 2 classes, which do not fit"),
        ({"coefficients": torch.ones(0, 3, 3), "epochs": torch.ones(0)}, {}, "which do not fit"),
    ],
)
def test_what_is_wrong_is_named(path, tensors, header, words):
    write_tensor_file(path, "coefficients", {**TENSORS, **tensors}, {**HEADER, **header})
    with pytest.raises(InputError, match=f"{words}.*delete it and train or teach again") as error:
        read_coefficients(path)
    assert str(path) in str(error.value)


def test_what_is_missing_is_named(path):
    write_tensor_file(path, "coefficients", TENSORS, {"data": "mnist"})
    with pytest.raises(InputError, match="its content lacks the fields 'class_names', 'model'"):
        read_coefficients(path)
    write_tensor_file(path, "coefficients", {"coefficients": torch.ones(1, 3, 3)}, HEADER)
    with pytest.raises(InputError, match=r"holds \['coefficients'\], but must hold coefficients and epochs"):
        read_coefficients(path)
