"""The dynamic loss l_Φ, which the student minimises (Wu et al. 2018, section 3.2)."""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from fairseq_dlf.core.support.checks import require_between
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.support.signature import Part
from fairseq_dlf.core.teaching.forms.form import Form
from fairseq_dlf.core.teaching.log_probs import LogProbs, log_probs


class Losses(NamedTuple):
    """Sums over the tokens or examples of a batch that count, each a scalar tensor.

    Attributes:
        loss: what the student minimises.
        nll_nats: plain cross-entropy in nats, without a graph, for comparison between runs.
    """

    loss: Tensor
    nll_nats: Tensor


@dataclass(frozen=True)
class DynamicLoss:
    """−σ(reward) for every token or example, mixed with cross-entropy.

    loss = (1 − ce_share) · Σ −σ(reward) + ce_share · Σ cross-entropy(y), where the form of Φ
    gives the reward (and −reward in place of −σ(reward) if it is linear), and label smoothing,
    spread as in fairseq, applies within the cross-entropy's share.

    Attributes:
        form: how Φ acts on log-probabilities.
        padding: index of the padding symbol, whose tokens do not count; None if there is no such symbol.
        ce_share: α in [0, 1]; 0 is the paper's loss, 1 is cross-entropy.
        label_smoothing: ε in [0, 1).

    Raises:
        InputError: a share is out of range.

    Cost: that of the form; the diagonal form makes one (tokens, types) tensor in the backward
        pass, while fairseq's cross-entropy makes three.
    Paper: section 3.2.
    """

    form: Form
    padding: int | None = None
    ce_share: float = 0.0
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        require_between(0.0, 1.0, ce_share=self.ce_share)
        require_between(0.0, 0.999, label_smoothing=self.label_smoothing)

    @property
    def signature(self) -> Part:
        return {"form": self.form.spec, "ce_share": self.ce_share, "label_smoothing": self.label_smoothing}

    def __call__(self, logits: Tensor, target: Tensor, coefficients: Tensor | None = None) -> Losses:
        """Return the loss and the cross-entropy of a batch.

        Args:
            logits: (..., types), any float dtype; the computation is in float32 or better.
            target: (...), int64.
            coefficients: Φ, (form.size(types),), float; not read, and None if there are none, if `ce_share` is 1.

        Raises:
            InputError: the number of coefficients is not that of the form.
        """
        logits, target = logits.reshape(-1, logits.size(-1)), target.reshape(-1)
        padding = None if self.padding is None else target == self.padding
        dynamic = self.ce_share < 1.0
        seen = log_probs(
            logits,
            target,
            padding,
            summed=self._smooths or (dynamic and self.form.reads_sum),
            every=dynamic and self.form.reads_every,
        )
        loss = seen.of_target.new_zeros(())
        if dynamic:
            phi = self._required(coefficients, logits.size(-1)).to(loss.dtype)
            losses = self.form.losses(phi, seen)
            # The sigmoid of a reward of 0 is not 0: padding is left out of the sum.
            counted = losses if padding is None else losses.masked_fill(padding, 0.0)
            loss = loss + (1.0 - self.ce_share) * counted.sum()
        if self.ce_share > 0.0:
            loss = loss + self.ce_share * self._cross_entropy(seen)
        return Losses(loss=loss, nll_nats=-seen.of_target.detach().sum())

    @property
    def _smooths(self) -> bool:
        return self.ce_share > 0.0 and self.label_smoothing > 0.0

    def _cross_entropy(self, seen: LogProbs) -> Tensor:
        nll = -seen.of_target
        if not self._smooths:
            return nll.sum()
        assert seen.summed is not None
        uniform = self.label_smoothing / (seen.logits.size(-1) - 1)
        return (1.0 - self.label_smoothing - uniform) * nll.sum() + uniform * -seen.summed.sum()

    def _required(self, coefficients: Tensor | None, types: int) -> Tensor:
        wanted = self.form.size(types)
        if coefficients is None or coefficients.numel() != wanted:
            given = 0 if coefficients is None else coefficients.numel()
            raise InputError(
                f"{given:,} coefficients were given, but the form {self.form.spec} of {types:,} types "
                f"has {wanted:,}: pass a teacher of these types"
            )
        return coefficients
