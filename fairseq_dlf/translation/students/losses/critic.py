"""The critic of actor-critic training: a network that predicts what each next token is worth, and how it learns."""

import copy
from argparse import Namespace
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from fairseq.data import Dictionary
from fairseq.models.lstm import LSTMModel
from torch import Tensor, nn

from fairseq_dlf.core.support.checks import require_at_least, require_between, require_positive
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.support.workers import Workers


@dataclass(frozen=True)
class CriticSettings:
    """How large the critic is, and how it learns.

    Attributes:
        width: of embeddings and hidden states.
        lr: learning rate of Adam.
        target_rate: share of the critic in the target network that replaces the old one after each update; with 1
            the target network is the critic.
        penalty: λ, weight of the squared deviations of all tokens' values from their mean.
        trace: share of the rewards to come, as they were sampled, in what a token's value is trained on; the rest
            is predicted by the target network.
    """

    width: int = 256
    lr: float = 1e-3
    target_rate: float = 1e-3
    penalty: float = 1e-3
    trace: float = 0.0

    def __post_init__(self) -> None:
        require_at_least(1, critic_width=self.width)
        require_positive(critic_lr=self.lr, critic_target_rate=self.target_rate)
        require_between(0.0, 1.0, critic_target_rate=self.target_rate, critic_trace=self.trace)
        require_at_least(0, critic_penalty=self.penalty)


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


class CriticTraining:
    """A critic, the target network that follows it slowly, and Adam, over the updates of a run.

    It is no module, so that no criterion that holds it has its parameters: the student's optimiser must not train
    them, and a student's checkpoint must load without them.

    Args:
        dictionary: of the target language.
        device, dtype: of the parameters.
        seed: of the initial parameters, which are the same on all workers.
    """

    def __init__(
        self, dictionary: Dictionary, settings: CriticSettings, device: torch.device, dtype: torch.dtype, seed: int
    ):
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            self.critic = Critic(dictionary, settings.width).to(device, dtype)
        self.settings = settings
        self.target = copy.deepcopy(self.critic).requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.critic.parameters(), lr=settings.lr)
        self.updates = 0
        self._sentences = 0

    def add_loss(self, loss: Tensor, sentences: int) -> None:
        """Add the gradient of a batch to those of the update.

        Args:
            loss: summed over the translations of a batch.
            sentences: number of the translations.
        """
        loss.backward()
        self._sentences += sentences

    def step(self, workers: Workers) -> None:
        """Update the critic by the mean gradient over the translations of all workers, and the target after it.

        Cost: one all-reduce of the gradients if there are several workers.
        """
        params = list(self.critic.parameters())
        gradients = [p.new_zeros(p.shape) if p.grad is None else p.grad for p in params]
        count = params[0].new_tensor([float(self._sentences)])
        summed = workers.combine(torch.cat([count, *(gradient.flatten() for gradient in gradients)]))
        self._sentences = 0
        if summed[0] == 0:
            return
        parts = (summed[1:] / summed[0]).split([p.numel() for p in params])
        for p, part in zip(params, parts, strict=True):
            p.grad = part.view_as(p)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._follow()
        self.updates += 1

    def _follow(self) -> None:
        with torch.no_grad():
            for slow, fast in zip(self.target.parameters(), self.critic.parameters(), strict=True):
                slow.lerp_(fast, self.settings.target_rate)

    def state_dict(self) -> dict[str, Any]:
        """Return the state in plain containers; its tensors are the live ones."""
        return {
            "width": self.settings.width,
            "critic": dict(self.critic.state_dict()),
            "target": dict(self.target.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "updates": self.updates,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state; the learning rate stays that of the settings.

        Raises:
            InputError: the state is that of a critic of another width.
        """
        if state["width"] != self.settings.width:
            raise InputError(
                f"critic_width is {self.settings.width}, but the run to go on with has a critic of width "
                f"{state['width']}: pass that one, or begin a new run",
                setting="critic_width",
            )
        self.critic.load_state_dict(state["critic"])
        self.target.load_state_dict(state["target"])
        self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.lr
        self.updates = state["updates"]
