"""Everything that depends on the internals of fairseq, one function per hook; each says what in fairseq forces it.

- `safe_globals`: the classes that `torch.load` must accept in fairseq's checkpoints.
- `launch`: launches that fairseq accepts although they train nothing, or the same model twice.
- `saving`: checkpoints that are replaced whole.
- `run_start`: the folder of a run, unreadable checkpoints, finished runs.
- `checkpoint_files`: reading checkpoints, with one message for everything that can be wrong with a file.
- `dictionaries`: the dictionaries that a checkpoint was trained with.
- `batch_order`: the same batches before and after a resume.
- `run_options`, `naming`: options of the run that a task does not get, and options in error messages.
- `updates`: the number and the end of an update, which a criterion does not get.
- `task_state`: what a criterion cannot save, kept across a resume.
"""
