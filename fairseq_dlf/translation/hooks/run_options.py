"""Options of a run as fairseq passes them: to other parts of the run only, or as text."""

import ast
from typing import Any, Mapping

from omegaconf import DictConfig, OmegaConf


def options_of_run(cfg: Any, group: str) -> Mapping[str, Any]:
    """Return the options of a group, such as `optimizer`, by name; an empty mapping if `cfg` is not part of a run.

    Forced by: fairseq passes only the task's own options to a task, although those of the optimiser and the
    schedule also change what it teaches.

    Args:
        cfg: a task's options, as passed by fairseq.
    """
    root: Any = cfg._get_root() if isinstance(cfg, DictConfig) else None
    members = root.get(group) if root is not None and root is not cfg else None
    if members is None:
        return {}
    options: Any = OmegaConf.to_container(members, resolve=True) if OmegaConf.is_config(members) else vars(members)
    return {str(name): value for name, value in options.items()}


def pair_of(betas: Any) -> tuple[float, float]:
    """Return β1 and β2 of an option, which fairseq leaves as text."""
    first, second = ast.literal_eval(betas) if isinstance(betas, str) else betas
    return float(first), float(second)
