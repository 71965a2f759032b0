"""One forward pass over several translations of each source, which is encoded once and predicts real tokens only."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from fairseq_dlf.translation.bleu.forwards import decoding_tokens_only


class TokenScores(NamedTuple):
    """What a model says at the tokens of some translations, their ends included.

    Attributes:
        logits: (tokens, types), row by row, with a graph.
        targets: (rows, length), int64, padded on the right.
        padding: index of the padding symbol.
    """

    logits: Tensor
    targets: Tensor
    padding: int

    @property
    def real(self) -> Tensor:
        """Return where there are tokens, (rows, length), bool."""
        return self.targets != self.padding

    @property
    def tokens(self) -> Tensor:
        """Return the tokens, (tokens,), int64."""
        return self.targets[self.real]

    @property
    def precise(self) -> Tensor:
        """Return the logits, (tokens, types), in float32 or better."""
        return self.logits.to(torch.promote_types(self.logits.dtype, torch.float32))

    @property
    def log_probs(self) -> Tensor:
        """Return log p of each token, (rows, length), in float32 or better; 0 where there is none."""
        return self.spread(-functional.cross_entropy(self.precise, self.tokens, reduction="none"))

    @property
    def token_logits(self) -> Tensor:
        """Return the logit of each token, (rows, length), in float32 or better; 0 where there is none."""
        return self.spread(self.precise.gather(-1, self.tokens.unsqueeze(-1)).squeeze(-1))

    def spread(self, values: Tensor) -> Tensor:
        """Return values of tokens, (tokens, ...), by row and place, (rows, length, ...); 0 where there is no token."""
        return values.new_zeros(*self.targets.shape, *values.shape[1:]).index_put((self.real,), values)

    def of_rows(self, rows: Tensor) -> "TokenScores":
        """Return the scores of some translations, in their order.

        Args:
            rows: (chosen,), int64.
        """
        places = self.spread(torch.arange(len(self.logits), device=rows.device))
        return self._replace(logits=self.logits[places[rows][self.real[rows]]], targets=self.targets[rows])


def score_tokens(
    forward: Callable[..., Any],
    model: nn.Module,
    net_input: dict[str, Tensor],
    owners: Tensor,
    targets: Tensor,
    padding: int,
) -> TokenScores:
    """Return what a model says at the tokens of translations, with a graph to what `forward` uses.

    Args:
        forward: the model, wrapped or with other parameters.
        model: an encoder-decoder model of fairseq, unwrapped.
        net_input: of the forward pass: each source once, and the translations' previous tokens, (rows, length).
        owners: the source of each translation, (rows,), int64.
        targets: the translations, (rows, length), int64, padded on the right.
        padding: index of the padding symbol.

    Cost: one encoding of each source; one decoding of each translation, of little padding; the projection to the
        types, the greatest part of a small model's memory, of tokens only.
    """
    with decoding_tokens_only(model, owners, (targets != padding).sum(dim=1)):
        logits = forward(**net_input)[0]
    return TokenScores(logits, targets, padding)


def sample_log_probs(scored: TokenScores, longest: int) -> Tensor:
    """Return log q of each translation, (rows,), for q that `sample_translations` draws from.

    It never draws padding, so that q is renormalised without it, and an end that is forced has the
    probability 1.

    Args:
        longest: words of the longest translation that is drawn.
    """
    # The gradient of an indexed column would be one more tensor over all types.
    columns = torch.stack([scored.tokens, torch.full_like(scored.tokens, scored.padding)], dim=1)
    logits = scored.precise
    log_p, padding = (logits.gather(1, columns) - logits.logsumexp(dim=1, keepdim=True)).unbind(dim=1)
    log_q = scored.spread(log_p - torch.log1p(-padding.exp()))
    lengths = scored.real.sum(dim=1)
    ends = torch.arange(log_q.size(1), device=log_q.device) == (lengths - 1).unsqueeze(1)
    return log_q.masked_fill(ends & (lengths > longest).unsqueeze(1), 0.0).sum(dim=1)
