"""Dynamic losses in fairseq; `plugins` registers all that is ours, as `--user-dir fairseq_dlf` does."""
