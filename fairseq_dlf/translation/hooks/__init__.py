"""All that leans on fairseq's inside, one function a hook; each says what in fairseq forces it.

- `safe_globals`: what `torch.load` must take in fairseq's checkpoints.
- `launch`: launches that fairseq would take and that train nothing, or the same thing twice.
- `saving`: checkpoints that are replaced whole.
- `run_start`: the folder of a run, unreadable checkpoints, runs that have ended before.
- `checkpoint_files`: reading checkpoints, with one message for all that can be wrong.
- `dictionaries`: which dictionaries a checkpoint was trained with.
- `batch_order`: the same batches before and after a resume.
- `run_options`, `naming`: what a task is not told, and how errors are shown.
- `updates`, `meters`: what a criterion is not told, and cannot keep.
"""
