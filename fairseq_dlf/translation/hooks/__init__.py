"""All that leans on fairseq's inside, one function a hook; each says what in fairseq forces it.

- `safe_globals`: what `torch.load` must take in fairseq's checkpoints.
- `launch`: launches that fairseq would take and that train nothing, or the same thing twice.
- `saving`: checkpoints that are replaced whole.
- `run_start`: the folder of a run, unreadable checkpoints, runs that have ended before.
- `checkpoint_files`: reading checkpoints, with one message for all that can be wrong.
- `dictionaries`: which dictionaries a checkpoint was trained with.
- `batch_order`: the same batches before and after a resume.
- `updates`, `meters`: what a criterion is not told, and cannot keep.
"""

from fairseq_dlf.translation.hooks.run_start import watch_start
from fairseq_dlf.translation.hooks.safe_globals import allow_checkpoint_globals
from fairseq_dlf.translation.hooks.saving import save_whole_files


def install() -> None:
    """Put our functions in the place of fairseq's, for all runs with `--user-dir fairseq_dlf`; idempotent."""
    allow_checkpoint_globals()
    save_whole_files()
    watch_start()
