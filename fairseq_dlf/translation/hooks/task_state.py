"""State of a criterion that is saved with every checkpoint of a run, and restored when the run resumes.

Forced by: fairseq saves a criterion only if it has parameters, which would then be trained with the student's,
and without which no student could be fine-tuned from the checkpoint. It saves a task's `state`, but restores it
only to generate and to validate.
"""

from collections.abc import Mapping
from typing import Any, Optional

import torch
from fairseq.tasks import FairseqTask

EXTRA_STATE_KEY = "dlf_state"
_PLAIN = (bool, int, float, str, type(None))
# Attributes of a task: state by name.
_LIVE = "dlf_live_state"
_RESTORED = "dlf_restored_state"


def keep(task: FairseqTask, name: str, state: Any) -> None:
    """Save a state with every later checkpoint of the run, in place of an earlier one of this name.

    Args:
        task: the run's task, whichever it is.
        name: distinct for each owner, such as `self_distillation`.
        state: tensors, numbers, text and None, in dicts, lists and tuples. It is not copied: what is saved is
            its content at the time of saving. Only the first worker's is saved, and all workers get it back.

    Cost: none before a checkpoint is saved.
    """
    live = vars(task).setdefault(_LIVE, {})
    live[name] = state
    # fairseq adds what this function returns to the extra state of each checkpoint.
    vars(task)["get_checkpoint_dict"] = lambda: {**_of_class(task), EXTRA_STATE_KEY: _saved(live)}


def kept(task: FairseqTask, name: str) -> Optional[Any]:
    """Return the state of this name, or None at the beginning of a run.

    It is known from the first training step on, and not yet when a criterion is built. Restored tensors are on
    the CPU. A restored state belongs to the run, and to its checkpoints, only once this function has returned it.
    """
    live = vars(task).get(_LIVE, {})
    if name not in live and name in vars(task).get(_RESTORED, {}):
        keep(task, name, vars(task)[_RESTORED].pop(name))
    return vars(task).get(_LIVE, {}).get(name)


def restore(task: FairseqTask, extra_state: Optional[dict[str, Any]], updates: int) -> None:
    """Give a resumed run its states back.

    A run that counts its updates from 0 is a new one, such as with `--finetune-from-model`: it inherits nothing.

    Args:
        extra_state: fairseq's, of the checkpoint with which the run begins; None without one. The states are
            removed from it, since fairseq holds it as long as the run lasts.
        updates: number of updates that the run has completed.
    """
    restored = (extra_state or {}).pop(EXTRA_STATE_KEY, None)
    if restored is not None and updates > 0:
        vars(task)[_RESTORED] = dict(restored)


def _of_class(task: FairseqTask) -> Mapping[str, Any]:
    """Return what a task of this class saves anyway."""
    of_class = getattr(type(task), "get_checkpoint_dict", None)
    return {} if of_class is None else of_class(task)


def _saved(state: Any) -> Any:
    """Return a state with all tensors on the CPU.

    Raises:
        TypeError: the state has a value that `torch.load` would refuse.
    """
    if isinstance(state, torch.Tensor):
        # A clone, since torch.save would write the whole storage of a view.
        return state.detach().cpu().clone()
    if isinstance(state, Mapping):
        return {name: _saved(value) for name, value in state.items()}
    if type(state) in (list, tuple):
        return type(state)(_saved(value) for value in state)
    if not isinstance(state, _PLAIN):
        raise TypeError(f"a criterion keeps a {type(state).__name__}: only tensors and plain values can be read back")
    return state
