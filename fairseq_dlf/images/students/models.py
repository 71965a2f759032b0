"""The classifiers of the paper's appendix, in any depth and width."""

import re
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.images.losses.registry import Scores

Shape = tuple[int, int, int]
# Bounds before memory is taken: on each number of a model's name, and on the parameters of the whole (8 GiB).
LARGEST_SIZE, LARGEST_MODEL = 100_000, 2**31


class Classifier(nn.Module):
    """A body that turns images into features, and a linear layer that turns features into scores.

    Args:
        body: (n, channels, height, width) → (n, width).
        head: (n, width) → (n, classes).
        of_loss: parameters of the loss itself, which are trained with the rest; None without any.
    """

    def __init__(self, body: nn.Module, head: nn.Linear, of_loss: Tensor | None = None):
        super().__init__()
        self.body = body
        self.head = head
        self.of_loss = None if of_loss is None else nn.Parameter(of_loss)

    def forward(self, images: Tensor) -> Scores:
        features = self.body(images)
        return Scores(self.head(features), features, self.head.weight, self.of_loss)


def build_model(
    name: str, shape: Shape, classes: int, seed: int, head_bias: bool = True, of_loss: Tensor | None = None
) -> Classifier:
    """Build a model with fresh weights, without a change to the global generator.

    Convolutions of networks with batch normalisation start as in He et al. 2015 (normal, by
    outputs), all other layers by PyTorch's defaults.

    Args:
        name: mlp, mlp-WIDTH, lenet, resnet-DEPTH, wrn-DEPTH-WIDTH or densenet-DEPTH-GROWTH.
        shape: (channels, height, width) of an image.
        seed: of the weights.
        head_bias: whether the last layer has a bias.
        of_loss: parameters of the loss itself, before training.

    Raises:
        InputError: there is no such model, it does not fit the images, or it is too large.
    """
    _require_room(name, shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        body, width = _body(name, shape)
        model = Classifier(body, nn.Linear(width, classes, bias=head_bias), of_loss)
        for module in model.modules():
            if isinstance(module, nn.Conv2d) and _is_normalised(name):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return model


def _require_room(name: str, shape: Shape) -> None:
    """Raise InputError if a model is too large, which is found by building it without memory first."""
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in _body(name, shape)[0].parameters())
    if parameters > LARGEST_MODEL:
        raise InputError(
            f"the model {name} has {parameters:,} parameters, but may have {LARGEST_MODEL:,}: give a smaller one",
            setting="model",
        )


def parameter_count(name: str, shape: Shape, classes: int) -> int:
    """Return the number of a model's parameters, without allocating them.

    Raises:
        InputError: as for `build_model`.
    """
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build_model(name, shape, classes, seed=0).parameters())


def _is_normalised(name: str) -> bool:
    return not name.startswith(("mlp", "lenet"))


def _body(name: str, shape: Shape) -> tuple[nn.Module, int]:
    for pattern, build in MODELS.items():
        match = re.fullmatch(pattern, name)
        if match:
            sizes = [int(number) for number in match.groups() if number is not None]
            if not all(1 <= size <= LARGEST_SIZE for size in sizes):
                raise InputError(
                    f"the model {name} has a depth, width or growth of {max(sizes) if all(sizes) else 0}, but must "
                    f"have 1 to {LARGEST_SIZE:,}: give another model",
                    setting="model",
                )
            return build(shape, *sizes)
    raise InputError(
        f"there is no model named {name!r}: wanted mlp, mlp-WIDTH, lenet, resnet-DEPTH (as resnet-8), "
        "wrn-DEPTH-WIDTH (as wrn-40-10) or densenet-DEPTH-GROWTH (as densenet-190-40)",
        setting="model",
    )


def _mlp(shape: Shape, width: int = 500) -> tuple[nn.Module, int]:
    inputs = shape[0] * shape[1] * shape[2]
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, width), nn.ReLU()), width


class _ChannelsLast(nn.Module):
    """Put channels last in memory, where convolutions on a CPU have faster first derivatives.

    Cost: measured on one core, a gradient takes 0.6 to 0.9 of the time. Second derivatives take 0.8 of
        theirs for LeNet, but 1.1 to 1.3 with batch normalisation.
    """

    def forward(self, images: Tensor) -> Tensor:
        # `contiguous` would leave images of one channel, and so every later layer, in the old order.
        return images.clone(memory_format=torch.channels_last)


def _lenet(shape: Shape) -> tuple[nn.Module, int]:
    height, width = (((side - 4) // 2 - 4) // 2 for side in shape[1:])
    if min(height, width) < 1:
        raise InputError(
            f"lenet needs images of 16 x 16 pixels or more, these have {shape[1]} x {shape[2]}: take mlp",
            setting="model",
        )
    body = nn.Sequential(
        _ChannelsLast(),
        nn.Conv2d(shape[0], 20, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(20, 50, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(50 * height * width, 500),
        nn.ReLU(),
    )
    return body, 500


class _ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions beside an identity, which is subsampled and zero-padded where shapes change."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.stride = stride
        self.padding = outputs - inputs

    def forward(self, images: Tensor) -> Tensor:
        residual = self.norm2(self.conv2(functional.relu(self.norm1(self.conv1(images)))))
        if self.stride > 1 or self.padding:
            images = functional.pad(images[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.padding))
        return functional.relu(images + residual)


def _depth(name: str, depth: int, offset: int, layers: int) -> int:
    """Return the number of blocks in a stage of a network whose depth is layers · blocks + offset."""
    blocks, rest = divmod(depth - offset, layers)
    if rest or blocks < 1:
        raise InputError(
            f"{name} has depth {depth}, but must have {layers}n + {offset}, such as {4 * layers + offset}",
            setting="model",
        )
    return blocks


def _resnet(shape: Shape, depth: int) -> tuple[nn.Module, int]:
    blocks = _depth("resnet", depth, 2, 6)
    layers: list[nn.Module] = [
        _ChannelsLast(),
        nn.Conv2d(shape[0], 16, 3, 1, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
    ]
    inputs = 16
    for stage, outputs in enumerate((16, 32, 64)):
        for block in range(blocks):
            layers.append(_ResidualBlock(inputs, outputs, 2 if stage and not block else 1))
            inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), 64


class _WideBlock(nn.Module):
    """Two 3 x 3 convolutions after their normalisations, beside an identity or a 1 x 1 convolution."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        same = stride == 1 and inputs == outputs
        self.shortcut = None if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        active = functional.relu(self.norm1(images))
        residual = self.conv2(functional.relu(self.norm2(self.conv1(active))))
        return residual + (images if self.shortcut is None else self.shortcut(active))


def _wide_resnet(shape: Shape, depth: int, width: int) -> tuple[nn.Module, int]:
    blocks = _depth("wrn", depth, 4, 6)
    layers: list[nn.Module] = [_ChannelsLast(), nn.Conv2d(shape[0], 16, 3, 1, 1, bias=False)]
    inputs = 16
    for stage, outputs in enumerate((16 * width, 32 * width, 64 * width)):
        for block in range(blocks):
            layers.append(_WideBlock(inputs, outputs, 2 if stage and not block else 1))
            inputs = outputs
    return nn.Sequential(*layers, *_pooled(inputs)), inputs


class _DenseLayer(nn.Module):
    """A bottleneck and a 3 x 3 convolution, whose output is added to the channels."""

    def __init__(self, inputs: int, growth: int):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, 4 * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, 1, 1, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        narrow = self.conv1(functional.relu(self.norm1(images)))
        return torch.cat([images, self.conv2(functional.relu(self.norm2(narrow)))], dim=1)


def _densenet(shape: Shape, depth: int, growth: int) -> tuple[nn.Module, int]:
    blocks = _depth("densenet", depth, 4, 6)
    if min(shape[1:]) < 4:
        raise InputError(
            f"densenet needs images of 4 x 4 pixels or more, these have {shape[1]} x {shape[2]}: take resnet",
            setting="model",
        )
    inputs = 2 * growth
    layers: list[nn.Module] = [_ChannelsLast(), nn.Conv2d(shape[0], inputs, 3, 1, 1, bias=False)]
    for stage in range(3):
        for _ in range(blocks):
            layers.append(_DenseLayer(inputs, growth))
            inputs += growth
        if stage < 2:
            layers += [
                nn.BatchNorm2d(inputs),
                nn.ReLU(),
                nn.Conv2d(inputs, inputs // 2, 1, bias=False),
                nn.AvgPool2d(2),
            ]
            inputs //= 2
    return nn.Sequential(*layers, *_pooled(inputs)), inputs


def _pooled(channels: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]


# Functions that build a body and return it with the width of its features, by the pattern of the model's name.
MODELS: dict[str, Callable[..., tuple[nn.Module, int]]] = {
    r"mlp(?:-(\d+))?": _mlp,
    r"lenet": _lenet,
    r"resnet-(\d+)": _resnet,
    r"wrn-(\d+)-(\d+)": _wide_resnet,
    r"densenet-(\d+)-(\d+)": _densenet,
}
