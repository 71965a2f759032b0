"""The past self of an episode: the student at its start, whose predictions go into the batches."""

from typing import Any

import torch
from torch import Tensor

from fairseq_dlf.core.hypergradient.student import Forward, Student
from fairseq_dlf.translation.bleu.decoding import evaluating
from fairseq_dlf.translation.regularisers.self_distillation import probs_of

# Where a batch holds p_past, (rows, tokens, types).
PAST = "past_probs"


def with_past(student: Student, params: Tensor, batch: dict[str, Any]) -> dict[str, Any]:
    """Return a batch with the predictions of the student at ω, without dropout and without a graph.

    Args:
        params: ω, (parameters,).
        batch: on the device of ω.

    Cost: a forward pass without a graph.
    """

    def probs(forward: Forward) -> Tensor:
        return probs_of(forward(**batch["net_input"])[0])

    with evaluating(student.module), torch.no_grad():
        return {**batch, PAST: student.run(params, probs)}
