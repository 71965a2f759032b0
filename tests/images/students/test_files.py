"""Students on disk: what is written is read, and what does not fit is named."""

import hashlib

import pytest
import torch

from fairseq_dlf.core.files.tensor_file import write_tensor_file
from fairseq_dlf.core.support.errors import InputError, MissingFileError
from fairseq_dlf.images.students.files import StudentFile, read_student, write_student
from fairseq_dlf.images.students.models import build_model


def test_a_student_is_read_as_it_was_written(tmp_path):
    module = build_model("resnet-8", (3, 8, 8), 4, seed=1)
    module.train()(torch.randn(4, 3, 8, 8))
    write_student(tmp_path / "s", module, "resnet-8")
    found = read_student(tmp_path / "s")
    other = build_model("resnet-8", (3, 8, 8), 4, seed=2)
    found.load_into(other)
    assert found.model == "resnet-8" and len(found.digest) == 8
    for name, tensor in module.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name


def test_the_digest_is_that_of_the_bytes_in_the_order_of_names(tmp_path):
    tensors = {"b": torch.tensor([1.0, 2.0]), "a": torch.tensor(3)}
    content = tensors["a"].numpy().tobytes() + tensors["b"].numpy().tobytes()
    assert StudentFile(tmp_path, "mlp", tensors).digest == hashlib.sha256(content).hexdigest()[:8]
    assert len(StudentFile(tmp_path, "mlp", {"a": torch.ones(2).bfloat16()}).digest) == 8


def test_a_student_of_another_size_is_named(tmp_path):
    write_student(tmp_path / "s", build_model("mlp-7", (1, 4, 4), 3, seed=1), "mlp-7")
    words = r"a mlp-7, does not fit the model that is wanted .the shape of .* is torch.Size.*: give the model mlp-7"
    with pytest.raises(InputError, match=words) as error:
        read_student(tmp_path / "s").load_into(build_model("mlp-5", (1, 4, 4), 3, seed=1))
    assert error.value.setting == "model"
    with pytest.raises(MissingFileError, match="does not exist: pass the best.safetensors"):
        read_student(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"body.1.bias": None}, "body.1.bias is missing"),
        ({"more": torch.ones(1)}, "more is too many"),
        ({"body.1.bias": torch.tensor(3)}, "the shape of body.1.bias is"),
    ],
)
def test_a_student_with_other_tensors_is_named(tmp_path, change, words):
    module = build_model("mlp-5", (1, 4, 4), 3, seed=1)
    tensors = {name: tensor for name, tensor in {**module.state_dict(), **change}.items() if tensor is not None}
    write_tensor_file(tmp_path / "s", "student", tensors, {"model": "mlp-5"})
    with pytest.raises(InputError, match=f"the student .*/s, a mlp-5, does not fit .*{words}"):
        read_student(tmp_path / "s").load_into(module)


@pytest.mark.parametrize(
    ("tensor", "header", "words"),
    [
        (torch.ones(2), {}, "its content lacks the fields 'model'"),
        (torch.ones(2), {"model": None}, "model is None, wanted text"),
        (torch.ones(2), {"model": ["mlp"]}, "model is .*, wanted text"),
        (torch.tensor([1.0, float("nan")]), {"model": "mlp"}, "the tensor a of .* has 1 elements that are infinite or"),
        (torch.ones(2).bfloat16(), {"model": "mlp"}, "the tensor a of .* is bfloat16, but must be float32"),
        (torch.ones(2).double(), {"model": "mlp"}, "the tensor a of .* is float64, but must be float32"),
        (torch.ones(2).int(), {"model": "mlp"}, "the tensor a of .* is int32, but must be float32"),
    ],
)
def test_a_student_that_cannot_be_used_is_named(tmp_path, tensor, header, words):
    write_tensor_file(tmp_path / "s", "student", {"a": tensor}, header)
    with pytest.raises(InputError, match=f"{words}.*train that student again") as error:
        read_student(tmp_path / "s")
    assert str(tmp_path / "s") in str(error.value)
