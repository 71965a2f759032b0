"""Options of a run that fairseq shows to other parts of it."""

from typing import Any, Mapping

from omegaconf import DictConfig, OmegaConf


def options_of_run(cfg: Any, group: str) -> Mapping[str, Any]:
    """The options of a group, such as `optimizer`, by name; none where `cfg` is of no run.

    Forced by: fairseq shows a task its own options alone, but the optimiser's and the schedule's change
    what it teaches, too.

    Args:
        cfg: a task's options, as fairseq gave them.
    """
    root: Any = cfg._get_root() if isinstance(cfg, DictConfig) else None
    found = root.get(group) if root is not None and root is not cfg else None
    if found is None:
        return {}
    options: Any = OmegaConf.to_container(found, resolve=True) if OmegaConf.is_config(found) else vars(found)
    return {str(name): value for name, value in options.items()}
