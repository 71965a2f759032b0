"""Tensors on disk: what is written is read, and nothing else."""

import pytest
import torch
from safetensors.torch import save_file

from fairseq_dlf.core.support.tensor_file import read_tensor_file, write_tensor_file


def test_what_is_written_is_read(tmp_path):
    tensors = {"a": torch.randn(2, 3).t(), "b": torch.tensor(7)}
    write_tensor_file(tmp_path / "x.safetensors", "student", tensors, {"model": "mlp", "sizes": [1, 2]})
    found = read_tensor_file(tmp_path / "x.safetensors", "student")
    assert found.header == {"model": "mlp", "sizes": [1, 2]}
    assert set(found.tensors) == {"a", "b"}
    assert torch.equal(found.tensors["a"], tensors["a"]) and int(found.tensors["b"]) == 7


def test_files_of_another_kind_are_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    write_tensor_file(path, "student", {"a": torch.ones(1)}, {})
    with pytest.raises(ValueError, match="no teacher header: it is not a teacher"):
        read_tensor_file(path, "teacher")
    save_file({"a": torch.ones(1)}, path)
    with pytest.raises(ValueError, match="no student header"):
        read_tensor_file(path, "student")
    path.write_text("text")
    with pytest.raises(ValueError, match="is not a safetensors file, or is damaged"):
        read_tensor_file(path, "student")
