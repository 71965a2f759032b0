"""Two coefficients per type: for the target, and for a uniform rest."""

from dataclasses import dataclass

from torch import Tensor

from fairseq_dlf.core.teaching.forms.form import FORMS, Form
from fairseq_dlf.core.teaching.forms.smoothing import require_smoothing, smoothed_reward, start_of
from fairseq_dlf.core.teaching.log_probs import LogProbs


@FORMS.register("smoothed")
@dataclass(frozen=True)
class Smoothed(Form):
    """reward = a_y log p(y) + b_y · mean_j log p(j); Φ is all a, then all b.

    With `linear` it contains cross-entropy with any label smoothing.

    Attributes:
        start: ε of the label smoothing from which teaching starts; 0 is cross-entropy.

    Cost: Σ log p besides log p(y); 2 |V| coefficients.
    Source: ours.
    """

    start: float = 0.0
    reads_sum = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require_smoothing(self.start)

    def size(self, types: int) -> int:
        return 2 * types

    def neutral(self, types: int) -> Tensor:
        return start_of(self.start, types, types)

    def reward(self, coefficients: Tensor, log_probs: LogProbs) -> Tensor:
        target, rest = coefficients.chunk(2)
        return smoothed_reward(target[log_probs.target], rest[log_probs.target], log_probs)
