"""One coefficient per type: reward = Φ[y] log p(y)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fairseq_dlf.core.teaching.forms.form import FORMS, Form
from fairseq_dlf.core.teaching.log_probs import LogProbs


@FORMS.register("diagonal")
@dataclass(frozen=True)
class Diagonal(Form):
    """One coefficient for every type of the target dictionary.

    Cost: nothing besides log p(y); |V| coefficients.
    Paper: section 5.2.
    """

    def size(self, types: int) -> int:
        return types

    def neutral(self, types: int) -> Tensor:
        return torch.ones(types)

    def reward(self, coefficients: Tensor, log_probs: LogProbs) -> Tensor:
        return coefficients[log_probs.target] * log_probs.of_target
