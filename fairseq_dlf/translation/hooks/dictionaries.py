"""Which dictionaries a checkpoint was trained with: two of one size may have their types in another order."""

from typing import Any, Optional

from fairseq.data import Dictionary
from fairseq.tasks import FairseqTask

from fairseq_dlf.core.support.digests import digest

TASK_STATE_KEY = "dlf_dictionaries"
DIGITS = 16


def dictionary_fingerprint(dictionary: Dictionary) -> str:
    """The first 16 hex digits of SHA-256 over the symbols in order."""
    return digest("\n".join(dictionary.symbols), DIGITS)


def fingerprints(task: FairseqTask) -> Optional[dict[str, str]]:
    """The fingerprints of a task's dictionaries, by side; None where it has not both."""
    try:
        source, target = task.source_dictionary, task.target_dictionary
    except NotImplementedError:
        return None
    if not isinstance(source, Dictionary) or not isinstance(target, Dictionary):
        return None
    return {"source": dictionary_fingerprint(source), "target": dictionary_fingerprint(target)}


def keep_fingerprints(task: FairseqTask) -> None:
    """Have the fingerprints saved with every checkpoint of a run.

    Forced by: fairseq's checkpoints say how many types a dictionary had, not which.
    """
    found = fingerprints(task)
    if found is not None:
        task.state.merge_state_dict({TASK_STATE_KEY: found})


def kept_fingerprints(state: dict[str, Any]) -> Optional[dict[str, str]]:
    """The fingerprints in a checkpoint; None where it has none, as those of plain fairseq."""
    found = state["task_state"].get(TASK_STATE_KEY)
    if not isinstance(found, dict) or not {"source", "target"} <= set(found):
        return None
    return {side: str(found[side]) for side in ("source", "target")}
