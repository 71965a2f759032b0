"""How a critic learns over the updates of a run: its optimiser, and the target network that follows it."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from fairseq.data import Dictionary
from torch import Tensor

from fairseq_dlf.core.support.checks import require_at_least, require_between, require_positive
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.support.workers import Workers
from fairseq_dlf.translation.students.losses.critic import Critic, Prefixes, critic_loss, critic_targets
from fairseq_dlf.translation.students.losses.policy import Policy


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


class CriticTraining:
    """A critic, the target network that follows it slowly, and Adam, over the updates of a run.

    It is no module, so that no criterion that holds it has its parameters: the student's optimiser must not train
    them, and a student's checkpoint must load without them.

    Args:
        dictionary: of the target language.
        device, dtype: of the parameters.
        seed: of the initial parameters, which are the same on all workers.

    Attributes:
        updates: number of completed updates.
        figures: the last batch's loss per token and mean Q of the sampled tokens, for the log.
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
        self.figures: dict[str, float] = {}
        self._sentences = 0

    def teach(self, prefixes: Prefixes, policy: Policy, rewards: Tensor, counts: bool) -> Tensor:
        """Return Q of a batch before the update, (rows, length, types), and add its gradient to those of the update.

        Args:
            prefixes: of sampled translations, (rows, length) tokens.
            policy: of the student after each of them.
            rewards: r_t of each token, (rows, length).
            counts: whether the batch counts; otherwise no gradient is added.
        """
        with torch.no_grad():
            slow_values = self.target(prefixes)
        values = self.critic(prefixes)
        targets = critic_targets(rewards, policy, slow_values, self.settings.trace)
        loss = critic_loss(values, policy, targets, self.settings.penalty, self.critic.padding)
        if counts:
            loss.backward()
            self._sentences += len(values)
        values, tokens = values.detach(), int(policy.real.sum())
        taken = values.gather(-1, policy.taken.unsqueeze(-1)).squeeze(-1)[policy.real]
        self.figures = {"critic_loss": float(loss.detach()) / tokens, "q_taken": float(taken.mean())}
        return values

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
        self.optimizer.load_state_dict(state["optimizer"])
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.lr
        self.updates = state["updates"]
