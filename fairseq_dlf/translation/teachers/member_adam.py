"""fairseq's optimiser `dlf_member_adam`: Adam with a scale for each member of a population of students."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, List, Optional

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.optim import FairseqOptimizer, register_optimizer
from omegaconf import II
from torch import Tensor, distributed

from fairseq_dlf.core.hypergradient.student import joined
from fairseq_dlf.core.hypergradient.update_rules import Adam, StudentState, clip_by_norm
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.translation.hooks.naming import naming_options
from fairseq_dlf.translation.hooks.run_options import pair_of

OPTIONS = {"beta1": "--adam-betas", "beta2": "--adam-betas", "epsilon": "--adam-eps"}
SLOTS = ("exp_avg", "exp_avg_sq", "step")


@dataclass
class MemberAdamConfig(FairseqDataclass):
    adam_betas: Any = field(default=(0.9, 0.999), metadata={"help": "betas of Adam"})
    adam_eps: float = field(default=1e-8, metadata={"help": "epsilon of Adam"})
    lr: List[float] = II("optimization.lr")


@register_optimizer("dlf_member_adam", dataclass=MemberAdamConfig)
class MemberAdam(FairseqOptimizer):  # type: ignore[misc]  # fairseq has no types
    """θ' = θ − η · mean_k d_k, where d_k is the direction of member k's own Adam, of its own gradient of θ.

    The gradients of one student may be many times those of another, and one Adam for their mean would follow the
    greatest. `--clip-norm` bounds the gradient of each member, before its Adam. A member whose episodes have all
    collapsed takes no part in an update, and its moments stay. With one member it is torch's Adam.

    fairseq's own sum of gradients, in `.grad`, only serves its checks and its log.

    Cost: a second backward pass through the teacher for each episode, a gradient of θ and two moments for each
        member, and an all-reduce of the gradients where several workers train.
    Source: a population of students with an Adam each, and the mean of their updates, as in DataRater (Calian et al.
        2025).
    """

    def __init__(self, cfg: MemberAdamConfig, params: Any):
        super().__init__(cfg)
        with naming_options(OPTIONS):
            rule = Adam(pair_of(cfg.adam_betas), cfg.adam_eps)
        self._optimizer = MemberMoments(params, rule, cfg.lr[0])
        self._clip_norm = 0.0
        self._episode: Optional[Tensor] = None
        # Sums of the gradients of each member, with the number of episodes in the last column.
        self._sums: Optional[Tensor] = None

    @property
    def optimizer_config(self) -> dict[str, Any]:
        return {"lr": self.cfg.lr[0]}

    def backward(self, loss: Tensor) -> None:
        """Keep the gradient of this episode alone, too: `.grad` sums over episodes, and perhaps over workers."""
        found = torch.autograd.grad(loss, list(self.params), retain_graph=True, materialize_grads=True)
        self._episode = joined(found)
        super().backward(loss)

    def credit(self, member: int, members: int, weight: int) -> None:
        """Add the gradient of the last episode to its member's.

        Args:
            members: number of members, the same in every call.
            weight: 1, or 0 for an episode that nothing can be learned from.
        """
        assert self._episode is not None
        if self._sums is None:
            self._sums = self._episode.new_zeros(members, len(self._episode) + 1)
        if weight:
            self._sums[member, :-1] += self._episode
            self._sums[member, -1] += weight

    def all_reduce_grads(self, module: Any) -> None:
        super().all_reduce_grads(module)
        if self._sums is not None and distributed.is_initialized():
            distributed.all_reduce(self._sums)

    def clip_grad_norm(self, max_norm: float, aggregate_norm_fn: Any = None) -> Tensor:
        """Return the norm of fairseq's gradient; the step will clip each member's."""
        self._clip_norm = max_norm
        return super().clip_grad_norm(0.0, aggregate_norm_fn)

    def step(self, closure: Any = None, scale: float = 1.0, groups: Any = None) -> None:
        """Move θ by the mean of the members' directions.

        Raises:
            InputError: no episode was credited to a member.
        """
        if self._sums is None:
            raise InputError(
                "--optimizer dlf_member_adam learned of no episode: it trains teachers, by --task dlf_teaching, in "
                "full precision, without wrappers such as --fp16 or --use-bmuf; take --optimizer adam otherwise"
            )
        self._optimizer.gradients = [self._mean(row) for row in self._sums]
        self._optimizer.step()

    def zero_grad(self) -> None:
        super().zero_grad()
        self._sums = None

    def _mean(self, row: Tensor) -> Optional[list[Tensor]]:
        """Return a member's mean gradient in the shapes of θ, clipped; None if it has no episode to learn from."""
        if row[-1] == 0:
            return None
        mean = clip_by_norm(row[:-1] / row[-1], self._clip_norm)
        pieces = mean.split([parameter.numel() for parameter in self.params])
        return [piece.view_as(parameter) for piece, parameter in zip(pieces, self.params, strict=True)]


class MemberMoments(torch.optim.Optimizer):
    """The core's Adam for each member: its slots have a row a member, and are saved with the checkpoint.

    Args:
        params: as for torch's optimisers.
        rule: without decay and clipping.
        lr: the learning rate.

    Attributes:
        gradients: of the members at the next step, in the shapes of the parameters; None leaves a member out.
    """

    def __init__(self, params: Any, rule: Adam, lr: float):
        super().__init__(params, {"lr": lr})
        self.rule = rule
        self.gradients: Sequence[Optional[Sequence[Tensor]]] = ()

    @torch.no_grad()
    def step(self, closure: Optional[Callable[[], Any]] = None) -> Any:  # type: ignore[override]
        """Move the parameters by the mean step of the members that have a gradient.

        Raises:
            InputError: the state that was loaded is of another number of members.
        """
        learners = [(number, found) for number, found in enumerate(self.gradients) if found is not None]
        places = [(group["lr"], parameter) for group in self.param_groups for parameter in group["params"]]
        for place, (rate, parameter) in enumerate(places):
            slots = self._slots(parameter)
            steps = [self._step(slots, member, found[place]) for member, found in learners]
            parameter.add_(torch.stack(steps).mean(dim=0), alpha=rate)
        return None

    def _slots(self, parameter: Tensor) -> dict[str, Tensor]:
        """Return the slots of a parameter, (members, …) each."""
        slots, members = self.state[parameter], len(self.gradients)
        if not slots:
            each = self.rule.initial(parameter).slots
            slots.update({name: torch.stack([slot] * members) for name, slot in zip(SLOTS, each, strict=True)})
        kept = len(slots[SLOTS[0]])
        if kept != members:
            raise InputError(
                f"the checkpoint has the moments of {kept} students, but --student names {members}: resume with the "
                "same students, or pass --reset-optimizer"
            )
        return slots

    def _step(self, slots: dict[str, Tensor], member: int, gradient: Tensor) -> Tensor:
        """Update a member's slots; return its step at a rate of 1."""
        first, second, done = (slots[name][member] for name in SLOTS)
        after = self.rule.step(StudentState(torch.zeros_like(gradient), (first, second, done.cpu())), gradient, 1.0)
        for name, slot in zip(SLOTS, after.slots, strict=True):
            slots[name][member] = slot
        return after.params
