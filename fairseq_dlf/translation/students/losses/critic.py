"""The critic of actor-critic training: a network that predicts what each next token is worth, and its loss."""

from argparse import Namespace
from types import SimpleNamespace
from typing import NamedTuple

import torch
from fairseq.data import Dictionary
from fairseq.models.lstm import LSTMModel
from torch import Tensor, nn

from fairseq_dlf.translation.students.losses.policy import Policy


class Prefixes(NamedTuple):
    """Translations that a critic looks at, token by token, and the references that it compares them with.

    Attributes:
        previous: previous tokens, (rows, length), int64, padded on the right.
        references: (sentences, length), int64, padded on the right.
        owners: the reference of each row, (rows,), int64.
    """

    previous: Tensor
    references: Tensor
    owners: Tensor


class Critic(nn.Module):
    """Q(a | ŷ_1..t): the BLEU that is still to come if token a follows a prefix.

    fairseq's LSTM without dropout: a bidirectional encoder reads the reference, a decoder with attention reads the
    prefix.

    Args:
        dictionary: of the target language, on both sides.
        width: of embeddings and hidden states.

    Paper: Bahdanau et al. (2017), section 3.
    """

    def __init__(self, dictionary: Dictionary, width: int):
        super().__init__()
        sizes = {f"{side}_{name}": width for side in ("encoder", "decoder") for name in ("embed_dim", "hidden_size")}
        options = Namespace(
            **sizes, decoder_out_embed_dim=width, encoder_bidirectional=True, dropout=0.0, criterion="dlf_actor_critic"
        )
        sides = SimpleNamespace(source_dictionary=dictionary, target_dictionary=dictionary)
        self.lstm = LSTMModel.build_model(options, sides)
        self.padding = dictionary.pad()

    def forward(self, prefixes: Prefixes) -> Tensor:
        """Return Q of every next token after every prefix, (rows, length, types).

        Cost: one encoding of each reference, one decoding of each row.
        """
        encoder, decoder = self.lstm.encoder, self.lstm.decoder
        lengths = (prefixes.references != self.padding).sum(dim=1)
        # The encoder accepts no column that is padding alone.
        references = prefixes.references[:, : int(lengths.max())]
        encoded = encoder(references, lengths, enforce_sorted=False)
        encoded = encoder.reorder_encoder_out(encoded, prefixes.owners)
        return decoder(prefixes.previous, encoder_out=encoded)[0]


def critic_targets(rewards: Tensor, policy: Policy, slow_values: Tensor, trace: float) -> Tensor:
    """Return q_t, which Q(ŷ_t | ŷ_1..t−1) is to equal, (rows, length), without a graph; 0 at padding.

    q_t = r_t + (1 − trace) · Σ_a p(a | ŷ_1..t) Q'(a | ŷ_1..t) + trace · q_t+1, and q_T = r_T.

    Args:
        rewards: r_t, (rows, length); 0 at padding.
        slow_values: Q', (rows, length, types).
        trace: 0 is the published target; with 1 it is the sum of the rewards to come, without Q'.
    """
    with torch.no_grad():
        predicted = (policy.probs * slow_values).sum(-1).masked_fill(~policy.real, 0.0)
        targets = torch.zeros_like(predicted)
        after, expected = predicted.new_zeros(len(predicted)), predicted.new_zeros(len(predicted))
        for step in reversed(range(predicted.size(1))):
            after = rewards[:, step].to(predicted) + (1.0 - trace) * expected + trace * after
            targets[:, step], expected = after, predicted[:, step]
    return targets


def critic_loss(values: Tensor, policy: Policy, targets: Tensor, penalty: float, padding: int) -> Tensor:
    """Return Σ_t (Q(ŷ_t) − q_t)² + λ Σ_t Σ_a (Q(a) − mean_a Q)², summed over all translations.

    Args:
        values: Q, (rows, length, types), with a graph.
        targets: q_t, (rows, length).
        penalty: λ. It keeps the values of tokens that are rarely sampled from growing without a check.
        padding: which is no action, and has no part in the mean.
    """
    values = values[policy.real]
    taken = values.gather(-1, policy.taken[policy.real].unsqueeze(-1)).squeeze(-1)
    actions = torch.arange(values.size(-1), device=values.device) != padding
    mean = (values * actions).sum(-1, keepdim=True) / (values.size(-1) - 1)
    spread = ((values - mean) * actions).square().sum()
    return (taken - targets[policy.real].to(values)).square().sum() + penalty * spread
