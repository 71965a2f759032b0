"""Digests against SHA-256 of the same bytes."""

import hashlib

import pytest
import torch

from fairseq_dlf.core.support.digests import digest, tensor_digest


def sha(content):
    return hashlib.sha256(content).hexdigest()


def test_a_text_has_the_digest_of_its_bytes():
    assert digest("Φ") == digest("Φ".encode()) == sha("Φ".encode())[:8]
    assert digest(b"x", 64) == sha(b"x")


def test_tensors_have_the_digest_of_their_bytes_in_order():
    tensors = [torch.arange(6.0).view(2, 3), torch.tensor(7)]
    content = b"".join(tensor.numpy().tobytes() for tensor in tensors)
    assert tensor_digest(tensors) == sha(content)[:8]
    assert tensor_digest(tensors[::-1]) != tensor_digest(tensors)
    assert tensor_digest(iter(tensors), 64) == sha(content)


def test_elements_count_in_their_order_whatever_the_strides():
    tensor = torch.arange(6.0).view(2, 3).t().requires_grad_()
    assert tensor_digest([tensor]) == sha(tensor.detach().contiguous().numpy().tobytes())[:8]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.int64, torch.bool])
def test_every_type_has_a_digest(dtype):
    one, other = torch.tensor([0, 1], dtype=dtype), torch.tensor([1, 0], dtype=dtype)
    assert tensor_digest([one]) == tensor_digest([one.clone()]) != tensor_digest([other])
    assert tensor_digest([torch.empty(0, dtype=dtype)]) == sha(b"")[:8]
