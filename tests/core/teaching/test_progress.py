"""The vector s_t: its order, its names and its bounds."""

import pytest
import torch

from fairseq_dlf.core.teaching.progress import progress_vector, require_normalised


def test_progress_keeps_the_order_of_the_features():
    state = progress_vector(["b", "a"], {"a": 0.25, "b": 1.0})
    assert state.tolist() == [1.0, 0.25]


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_progress_must_be_normalised(value):
    with pytest.raises(ValueError, match="feature a is .*normalised"):
        progress_vector(["a"], {"a": value})


def test_progress_must_have_the_teachers_features():
    with pytest.raises(ValueError, match="the teacher wants"):
        progress_vector(["a", "b"], {"a": 0.5})


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_the_ends_are_normalised(value):
    assert progress_vector(["a"], {"a": value}).tolist() == [value]


def test_a_value_without_a_name_is_named_by_its_place():
    with pytest.raises(ValueError, match="feature number 1 is 2.0, but must be normalised"):
        require_normalised(torch.tensor([0.5, 2.0]))
