"""The dictionaries that a checkpoint was trained with: two of equal size may order their types differently."""

from typing import Any, Optional

from fairseq.data import Dictionary
from fairseq.tasks import FairseqTask

from fairseq_dlf.core.support.digests import digest

TASK_STATE_KEY = "dlf_dictionaries"
DIGITS = 16


def dictionary_fingerprint(dictionary: Dictionary) -> str:
    """Return the first 16 hex digits of SHA-256 over the symbols in order."""
    return digest("\n".join(dictionary.symbols), DIGITS)


def fingerprints(task: FairseqTask) -> Optional[dict[str, str]]:
    """Return the fingerprints of a task's dictionaries by side, or None if it lacks one of them."""
    try:
        source, target = task.source_dictionary, task.target_dictionary
    except NotImplementedError:
        return None
    if not isinstance(source, Dictionary) or not isinstance(target, Dictionary):
        return None
    return {"source": dictionary_fingerprint(source), "target": dictionary_fingerprint(target)}


def keep_fingerprints(task: FairseqTask) -> None:
    """Make fairseq save the fingerprints with every checkpoint of a run.

    Forced by: fairseq's checkpoints tell how many types a dictionary had, but not which ones.
    """
    by_side = fingerprints(task)
    if by_side is not None:
        task.state.merge_state_dict({TASK_STATE_KEY: by_side})


def kept_fingerprints(state: dict[str, Any]) -> Optional[dict[str, str]]:
    """Return the fingerprints in a checkpoint; None if it has none, like the checkpoints of plain fairseq."""
    by_side = state["task_state"].get(TASK_STATE_KEY)
    if not isinstance(by_side, dict) or not {"source", "target"} <= set(by_side):
        return None
    return {side: str(by_side[side]) for side in ("source", "target")}
