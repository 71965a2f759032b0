"""Models: sizes of the literature, seeds, and what core asks of them."""

import pytest
import torch
from torch.func import functional_call

from fairseq_dlf.images.students.models import build_model

MNIST, CIFAR = (1, 28, 28), (3, 32, 32)


# Published: ResNet-20 and -32 0.27 M and 0.46 M (He et al. 2016), WRN-40-10 55.8 M (Zagoruyko and
# Komodakis 2016), DenseNet-BC-100-12 0.8 M and -190-40 25.6 M (Huang et al. 2017). MLP and LeNet by hand.
@pytest.mark.parametrize(
    ("name", "shape", "parameters"),
    [
        ("mlp", MNIST, 784 * 500 + 500 + 500 * 10 + 10),
        ("mlp-50", MNIST, 784 * 50 + 50 + 50 * 10 + 10),
        ("lenet", MNIST, 20 * 25 + 20 + 50 * 20 * 25 + 50 + 800 * 500 + 500 + 500 * 10 + 10),
        ("resnet-8", CIFAR, 75_290),
        ("resnet-20", CIFAR, 269_722),
        ("resnet-32", CIFAR, 464_154),
        ("wrn-40-10", CIFAR, 55_841_754),
        ("densenet-100-12", CIFAR, 769_162),
        ("densenet-190-40", CIFAR, 25_624_430),
    ],
)
def test_parameter_counts(name, shape, parameters):
    with torch.device("meta"):
        model = build_model(name, shape, 10, seed=1)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


SMALL = {
    "mlp-7": (1, 5, 5),
    "lenet": (1, 16, 16),
    "resnet-8": (3, 8, 8),
    "wrn-10-2": (3, 8, 8),
    "densenet-10-3": (3, 8, 8),
}


@pytest.mark.parametrize("name", SMALL)
def test_scores_are_features_times_weight(name):
    model = build_model(name, SMALL[name], 4, seed=1).double()
    scores = model(torch.randn(6, *SMALL[name], dtype=torch.float64))
    assert scores.logits.shape == (6, 4) and scores.weight is model.head.weight
    torch.testing.assert_close(scores.logits, scores.features @ scores.weight.t() + model.head.bias)
    assert build_model(name, SMALL[name], 4, seed=1, head_bias=False).head.bias is None


@pytest.mark.parametrize("name", SMALL)
def test_the_seed_fixes_the_weights_and_leaves_the_generator_alone(name):
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = (build_model(name, SMALL[name], 4, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), wanted)
    for mine, same, different in zip(first.parameters(), again.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, same)
        assert mine.dim() == 1 or not torch.equal(mine, different)


@pytest.mark.parametrize("name", SMALL)
def test_runs_with_parameters_and_buffers_from_outside(name):
    model, other = (build_model(name, SMALL[name], 4, seed).double().eval() for seed in (1, 2))
    images = torch.randn(5, *SMALL[name], dtype=torch.float64)
    state = {**dict(other.named_parameters()), **dict(other.named_buffers())}
    found = functional_call(model, state, (images,))
    for mine, wanted in zip(found, other(images), strict=True):
        torch.testing.assert_close(mine, wanted)
    assert not torch.allclose(found.logits, model(images).logits)


@pytest.mark.parametrize("channels", [1, 3])
def test_lenet_computes_with_channels_last(channels):
    body = build_model("lenet", (channels, 28, 28), 10, seed=1).body
    found = body[:2](torch.rand(2, channels, 28, 28))
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_a_residual_block_keeps_what_it_is_given():
    """With its last normalisation's weight at 0, a block is its shortcut: thinned out, padded with zeros."""
    block = build_model("resnet-8", CIFAR, 10, seed=1).body[5]
    torch.nn.init.zeros_(block.norm2.weight)
    images = torch.rand(2, 16, 8, 8)
    found = block(images)
    assert found.shape == (2, 32, 4, 4)
    torch.testing.assert_close(found[:, :16], images[:, :, ::2, ::2])
    assert not found[:, 16:].any()


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("perceptron", MNIST, "no model named 'perceptron': wanted mlp, mlp-WIDTH, lenet, resnet-DEPTH"),
        ("resnet", CIFAR, "no model named 'resnet'"),
        ("resnet-9", CIFAR, "resnet has depth 9, but must have 6n . 2, such as 26"),
        ("resnet-2", CIFAR, "depth 2"),
        ("wrn-12-2", CIFAR, "wrn has depth 12, but must have 6n . 4"),
        ("densenet-12-2", CIFAR, "densenet has depth 12"),
        ("mlp-0", MNIST, "the model mlp-0 has a depth, width or growth of 0"),
        ("lenet", (1, 8, 8), "lenet needs images of 16 x 16 pixels or more, these have 8 x 8: take mlp"),
        ("densenet-10-3", (3, 3, 8), "densenet needs images of 4 x 4 pixels or more, these have 3 x 8: take resnet"),
    ],
)
def test_what_cannot_be_built_is_named(name, shape, words):
    with pytest.raises(ValueError, match=words):
        build_model(name, shape, 10, seed=1)
