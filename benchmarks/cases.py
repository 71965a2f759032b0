"""The students of the benchmarks, each with batches, loss and coefficients, all from seeds."""

import copy
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY
from torch import Tensor, nn

import fairseq_dlf.translation.plugins  # noqa: F401
from benchmarks.sentences import MULTI30K, SMALL, Shape, ShapedTask
from fairseq_dlf.core.hypergradient.student import Objective
from fairseq_dlf.core.teaching.forms import Diagonal
from fairseq_dlf.core.teaching.loss import DynamicLoss
from fairseq_dlf.images.losses import make_loss
from fairseq_dlf.images.losses.registry import PAPER_FORM
from fairseq_dlf.images.students.lesson import TimedBatch, image_objective
from fairseq_dlf.images.students.models import build_model
from fairseq_dlf.translation.episodes.checkpoints import translation_objective
from fairseq_dlf.translation.regularisers import RegularisedLoss

# 'small' serves comparisons in float64, where nothing is timed; 'quick' has smaller batches than 'full'.
Size = Literal["small", "quick", "full"]
SHAPES: dict[Size, Shape] = {"small": SMALL, "quick": MULTI30K._replace(sentences=16), "full": MULTI30K}
LENET_IMAGES: dict[Size, int] = {"small": 5, "quick": 100, "full": 500}

LEARNING_RATE = 0.1
DROPOUT = 0.1
CLASSES = 10
MODEL_SEED = 1
TRANSLATION_BATCHES = 16
IMAGE_BATCHES = 64


@dataclass(frozen=True)
class Case:
    """A student with all that its training depends on.

    Attributes:
        module: the network, in training mode; its parameters are ω_0.
        batches: taken in turn.
        objective: maps (forward, Φ, batch) to the mean loss.
        coefficients: Φ before each step's own noise, (coefficients,).
        cross_entropy: the same of plain cross-entropy, whatever Φ.
        direction: what ω_T is measured along, (parameters,); by default a random one.
    """

    module: nn.Module
    batches: Sequence[Any]
    objective: Objective
    coefficients: Tensor
    cross_entropy: Objective
    direction: Tensor | None = None

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.module.parameters())

    def batch(self, step: int) -> Any:
        return self.batches[step % len(self.batches)]

    def seed(self, step: int) -> int:
        """Return the seed of a step's dropout masks."""
        return 1000 + step

    def phis(self, steps: int) -> Tensor:
        """Return Φ_1 … Φ_T, different in each step, (steps, coefficients)."""
        # Drawn in float32 for every precision, so that a student's copies see the same numbers.
        noise = torch.randn(steps, len(self.coefficients), generator=torch.Generator().manual_seed(3))
        return self.coefficients + 0.1 * noise.to(self.coefficients)

    def measure_gradient(self) -> Tensor:
        """Return the vector v, (parameters,): the measure of an episode is the inner product of v and ω_T."""
        if self.direction is not None:
            return self.direction.to(self.coefficients)
        vector = torch.randn(self.parameters, generator=torch.Generator().manual_seed(4))
        return vector.to(self.coefficients)

    def on(self, device: torch.device) -> "Case":
        """Return the same student on a device, with a separate module."""
        return replace(
            self,
            module=copy.deepcopy(self.module).to(device),
            batches=[_moved(batch, device) for batch in self.batches],
            coefficients=self.coefficients.to(device),
        )

    def double(self) -> "Case":
        """Return the same student in float64, with a separate module."""
        return replace(
            self,
            module=copy.deepcopy(self.module).double(),
            batches=[_double(batch) for batch in self.batches],
            coefficients=self.coefficients.double(),
        )


def build(name: str, size: Size) -> Case:
    """Build the student of this name, with the same numbers each time."""
    torch.manual_seed(1)
    return STUDENTS[name](size)


def build_translation(arch: str, size: Size, **options: Any) -> tuple[ShapedTask, nn.Module]:
    """Build a task of synthetic sentences and an untrained model for it."""
    task = ShapedTask(SHAPES[size])
    args = Namespace(criterion="dlf", dropout=DROPOUT, max_source_positions=64, max_target_positions=64, **options)
    if size == "small":
        for side in ("encoder", "decoder"):
            vars(args).update(
                {f"{side}_embed_dim": 8, f"{side}_hidden_size": 8, f"{side}_ffn_embed_dim": 8, f"{side}_layers": 1}
            )
        args.decoder_out_embed_dim = 8
    ARCH_CONFIG_REGISTRY[arch](args)
    return task, ARCH_MODEL_REGISTRY[arch].build_model(args, task)


def translation_case(task: ShapedTask, module: nn.Module) -> Case:
    """Return a translation model with the paper's diagonal loss and Φ = 1."""
    dictionary = task.target_dictionary
    objective, cross_entropy = (
        translation_objective(RegularisedLoss(DynamicLoss(Diagonal(), dictionary.pad(), share))) for share in (0.0, 1.0)
    )
    batches = task.batches(TRANSLATION_BATCHES, seed=2)
    return Case(module.train(), batches, objective, Diagonal().neutral(len(dictionary)), cross_entropy)


def image_case(model: str, batches: Sequence[TimedBatch]) -> Case:
    """Return a classifier of images with images' own dynamic loss and Φ = I, the identity."""
    _, channels, height, width = batches[0].images.shape
    module = build_model(model, (channels, height, width), CLASSES, MODEL_SEED)
    objective, cross_entropy = (image_objective(make_loss(name)) for name in ("dlf", "cross_entropy"))
    return Case(module.train(), batches, objective, PAPER_FORM.neutral(CLASSES), cross_entropy)


def random_images(images: int, batches: int = IMAGE_BATCHES, side: int = 28) -> list[TimedBatch]:
    """Draw batches of uniform noise with random labels."""
    return [
        TimedBatch(torch.rand(images, 1, side, side), torch.randint(CLASSES, (images,)), t, batches)
        for t in range(batches)
    ]


def _mlp(size: Size) -> Case:
    if size == "small":
        return image_case("mlp-7", random_images(5, side=6))
    return image_case("mlp", random_images(20))


def _lenet(size: Size) -> Case:
    return image_case("lenet", random_images(LENET_IMAGES[size], batches=8, side=16 if size == "small" else 28))


def _moved(batch: Any, device: torch.device) -> Any:
    """Return images, or sentences in fairseq's nested dictionaries, on a device."""
    if isinstance(batch, Tensor):
        return batch.to(device)
    if isinstance(batch, TimedBatch):
        return batch._replace(images=batch.images.to(device), labels=batch.labels.to(device))
    return {key: _moved(part, device) for key, part in batch.items()} if isinstance(batch, dict) else batch


def _double(batch: Any) -> Any:
    """Return images in float64; a batch of sentences, which has integers only, is returned unchanged."""
    return batch._replace(images=batch.images.double()) if isinstance(batch, TimedBatch) else batch


STUDENTS: dict[str, Callable[[Size], Case]] = {
    "lstm": lambda size: translation_case(*build_translation("lstm_dlf_1", size)),
    "transformer-gelu": lambda size: translation_case(
        *build_translation("transformer_dlf_small", size, activation_fn="gelu")
    ),
    "transformer-relu": lambda size: translation_case(
        *build_translation("transformer_dlf_small", size, activation_fn="relu")
    ),
    "mlp": _mlp,
    "lenet": _lenet,
}
