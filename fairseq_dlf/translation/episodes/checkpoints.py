"""Students for episodes, read from a fairseq checkpoint, with the loss of translation."""

import logging
from collections.abc import Callable
from pathlib import Path
from textwrap import shorten
from typing import Any, Optional

import torch
from fairseq.models import FairseqEncoderDecoderModel
from fairseq.modules import FairseqDropout
from fairseq.tasks import FairseqTask
from torch import Tensor, nn

from fairseq_dlf.core.hypergradient.student import Forward, Student
from fairseq_dlf.core.support.checks import require_rate
from fairseq_dlf.core.support.errors import InputError, MissingFileError, brief
from fairseq_dlf.translation.episodes.past import PAST
from fairseq_dlf.translation.hooks.checkpoint_files import load_checkpoint
from fairseq_dlf.translation.hooks.dictionaries import fingerprints, kept_fingerprints
from fairseq_dlf.translation.regularisers import RegularisedLoss

logger = logging.getLogger(__name__)


def student_of(
    checkpoint: "StudentCheckpoint",
    loss: RegularisedLoss,
    dropout: Optional[float] = None,
    combine: Callable[[Tensor], Tensor] = lambda tensor: tensor,
) -> Student:
    """Return the student of a checkpoint, in training mode.

    Args:
        dropout: replaces every dropout rate of the checkpoint.
        combine: sums over the workers that share the student's batches, as in `Student`.

    Raises:
        InputError: the rate is out of range.
    """
    if dropout is not None:
        set_dropout(checkpoint.model, dropout)
    checkpoint.model.train()
    return Student(checkpoint.model, translation_objective(loss), combine=combine)


def translation_objective(loss: RegularisedLoss) -> Callable[[Forward, Tensor, Any], Tensor]:
    """Return L_Φ of a fairseq batch: the summed loss divided by the number of tokens, like in fairseq's trainer.

    Batches hold the past self's predictions if the loss reads them (`with_past`).
    """

    def objective(forward: Forward, coefficients: Tensor, batch: Any) -> Tensor:
        logits = loss.logits(forward, batch["net_input"])
        return loss(logits, batch["target"], coefficients, batch.get(PAST)).loss / batch["ntokens"]

    return objective


# Reading --------------------------------------------------------------------

_WANTED = "a checkpoint of --task translation or dlf_translation, trained on this data-bin"
_PASS = f"pass {_WANTED}"


class StudentCheckpoint:
    """A translation checkpoint, read and checked once: its student, and new ones of its architecture.

    Args:
        path: the checkpoint.
        task: whose dictionaries the student must have been trained with.

    Raises:
        MissingFileError: there is no such file.
        InputError: it is damaged, not a translation student, or of another data-bin.
    """

    def __init__(self, path: str, task: FairseqTask):
        if not path or not Path(path).is_file():
            raise MissingFileError(
                f"student checkpoint {path or repr(path)} does not exist: train one first, for instance with "
                "--arch lstm_dlf_1 --criterion label_smoothed_cross_entropy"
            )
        state = load_checkpoint(Path(path), _WANTED)
        _require_same_sizes(path, state["model"], task)
        if not _same_dictionaries(path, state, task):
            logger.warning(
                f"student checkpoint {path} does not say which dictionaries it was trained with, only their sizes: "
                "see to it that they are this data-bin's"
            )
        self._path = path
        self._task = task
        self._cfg = state["cfg"]
        self.model = _build(path, self._cfg, task)
        _require_fit(path, state["model"], self.model)
        _fill(path, self.model, state)

    def fresh(self, seed: int) -> FairseqEncoderDecoderModel:
        """Return the architecture with new random weights."""
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            return _build(self._path, self._cfg, self._task)


def _build(path: str, cfg: Any, task: FairseqTask) -> FairseqEncoderDecoderModel:
    try:
        model = FairseqTask.build_model(task, cfg.model, from_checkpoint=True)
    # An architecture may raise any exception if its configuration is incomplete or of another type.
    except Exception as error:
        raise InputError(
            f"no model can be built as student checkpoint {path} says ({brief(error)}): {_PASS}"
        ) from error
    if not isinstance(model, FairseqEncoderDecoderModel):
        raise InputError(f"student checkpoint {path} holds a {type(model).__name__}: {_PASS}")
    return model


def _fill(path: str, model: FairseqEncoderDecoderModel, state: dict[str, Any]) -> None:
    try:
        model.load_state_dict(state["model"], strict=True, model_cfg=state["cfg"].model)
    except (RuntimeError, KeyError, TypeError, AttributeError) as error:
        cause = shorten(" ".join(str(error).split()), 300)
        raise InputError(f"student checkpoint {path} does not fit its own configuration ({cause}): {_PASS}") from error


def _require_same_sizes(path: str, weights: dict[str, Tensor], task: FairseqTask) -> None:
    for side, dictionary in (("encoder", task.source_dictionary), ("decoder", task.target_dictionary)):
        embedding = weights.get(f"{side}.embed_tokens.weight")
        if embedding is None or embedding.dim() != 2:
            raise InputError(f"student checkpoint {path} is of another task, it has no {side}: {_PASS}")
        if embedding.size(0) != len(dictionary):
            raise InputError(
                f"student checkpoint {path} has {embedding.size(0):,} {side} types, this data-bin's "
                f"dictionary has {len(dictionary):,}: {_PASS}"
            )


def _same_dictionaries(path: str, state: dict[str, Any], task: FairseqTask) -> bool:
    """Refuse dictionaries of equal sizes with other types; return whether the checkpoint has fingerprints at all."""
    kept, here = kept_fingerprints(state), fingerprints(task)
    if kept is None or here is None:
        return False
    for side in ("source", "target"):
        if kept[side] != here[side]:
            raise InputError(
                f"student checkpoint {path} was trained with another {side} dictionary (fingerprint {kept[side]}, "
                f"this data-bin's is {here[side]}): {_PASS}"
            )
    return True


def _require_fit(path: str, weights: dict[str, Tensor], model: nn.Module) -> None:
    """Refuse values that are not finite, and whole numbers in place of parameters."""
    parameters = dict(model.named_parameters())
    for name, tensor in weights.items():
        if name in parameters and not tensor.is_floating_point():
            raise InputError(
                f"{name} in student checkpoint {path} is of {tensor.dtype}, not of floating-point numbers: {_PASS}"
            )
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise InputError(f"{name} in student checkpoint {path} has values that are not finite: {_PASS}")


# Dropout --------------------------------------------------------------------


def set_dropout(model: nn.Module, rate: float) -> None:
    """Set every dropout rate of a fairseq model.

    Raises:
        InputError: the rate is out of range.
    """
    require_rate(dropout=rate)
    for module in model.modules():
        if isinstance(module, FairseqDropout):
            module.p = rate
        elif isinstance(module, nn.LSTM) and module.num_layers > 1:
            module.dropout = rate
