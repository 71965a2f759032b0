"""Students for episodes: read from a fairseq checkpoint, with the loss of translation."""

from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Callable, Optional

from fairseq import checkpoint_utils
from fairseq.models import BaseFairseqModel, FairseqEncoderDecoderModel
from fairseq.modules import FairseqDropout
from fairseq.tasks import FairseqTask
from torch import Tensor, nn

from fairseq_dlf.core.hypergradient.student import Forward, Student
from fairseq_dlf.core.teaching.loss import DiagonalLoss


def build_student(
    path: str,
    task: FairseqTask,
    loss: DiagonalLoss,
    dropout: Optional[float] = None,
    fresh: bool = False,
    combine: Callable[[Tensor], Tensor] = lambda tensor: tensor,
) -> Student:
    """The student of a fairseq translation checkpoint, in training mode.

    Args:
        dropout: replaces every dropout rate of the checkpoint.
        fresh: keeps the random weights that the architecture starts with.
        combine: sums over the workers that share its batches, as in `Student`.

    Raises:
        FileNotFoundError, ValueError: as `load_model`.
    """
    model = load_model(path, task, fresh)
    if dropout is not None:
        set_dropout(model, dropout)
    model.train()
    return Student(model, translation_objective(loss), combine=combine)


def translation_objective(loss: DiagonalLoss) -> Callable[[Forward, Tensor, Any], Tensor]:
    """L_Φ of a fairseq batch: the token loss divided by the tokens, as fairseq's trainer divides."""

    def objective(forward: Forward, coefficients: Tensor, batch: Any) -> Tensor:
        logits = forward(**batch["net_input"])[0]
        return loss(logits, batch["target"], coefficients).loss / batch["ntokens"]

    return objective


def load_model(path: str, task: FairseqTask, fresh: bool = False) -> BaseFairseqModel:
    """The model of a translation checkpoint, built for this task's dictionaries.

    Raises:
        FileNotFoundError: no such file.
        ValueError: damaged, not a translation student, or of another data-bin.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"student checkpoint {path} does not exist: train one first, for instance with "
            "--arch lstm_dlf_1 --criterion label_smoothed_cross_entropy"
        )
    try:
        state = checkpoint_utils.load_checkpoint_to_cpu(path)
        cfg = state["cfg"]
    except (RuntimeError, EOFError, KeyError, UnpicklingError) as error:
        raise ValueError(
            f"student checkpoint {path} cannot be read ({str(error).splitlines()[0]}): "
            "pass a checkpoint that fairseq-train has written"
        ) from error
    _require_same_dictionaries(path, state["model"], task)
    model = FairseqTask.build_model(task, cfg.model, from_checkpoint=True)
    if not isinstance(model, FairseqEncoderDecoderModel):
        raise ValueError(f"student checkpoint {path} holds a {type(model).__name__}: {_WANTED}")
    if not fresh:
        model.load_state_dict(state["model"], strict=True, model_cfg=cfg.model)
    return model


_WANTED = "pass a checkpoint of --task translation or dlf_translation, trained on this data-bin"


def _require_same_dictionaries(path: str, weights: dict[str, Tensor], task: FairseqTask) -> None:
    for side, dictionary in (("encoder", task.source_dictionary), ("decoder", task.target_dictionary)):
        embedding = weights.get(f"{side}.embed_tokens.weight")
        if embedding is None:
            raise ValueError(f"student checkpoint {path} is of another task, it has no {side}: {_WANTED}")
        if embedding.size(0) != len(dictionary):
            raise ValueError(
                f"student checkpoint {path} has {embedding.size(0):,} {side} types, this data-bin's "
                f"dictionary has {len(dictionary):,}: {_WANTED}"
            )


def set_dropout(model: nn.Module, rate: float) -> None:
    """Sets every dropout rate of a fairseq model."""
    if not 0.0 <= rate < 1.0:
        raise ValueError(f"dropout is {rate}, but must lie in [0, 1)")
    for module in model.modules():
        if isinstance(module, FairseqDropout):
            module.p = rate
        elif isinstance(module, nn.LSTM) and module.num_layers > 1:
            module.dropout = rate
