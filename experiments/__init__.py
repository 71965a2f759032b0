"""Tables of trainings: what a table declares is run once, recorded, and reported from the records alone.

    python -m experiments table3 --raw DIR --out DIR --jobs 2     run what is missing, two at a time
    python -m experiments table3 --out DIR --status               what is done, running and missing
    python -m experiments table3 --report                         the tables in Markdown, from results/ alone

`--only 'lstm_dlf_1/seed-1/risk/*'` runs a part and what that needs, `--dry-run` prints the commands in their order.
Ctrl-C or a kill costs at most the updates since the last checkpoint: the same command goes on.

Where things are:

- `table3.py` declares a table; a new table is one such file. `few_data.py` has what `low3000.py`, `low6000.py`,
  `noisy6000.py` and `talks6000.py` share. The folder `choice` is a table of another kind, of
  measures and forms, with a command of its own: `python -m experiments choice --help`. So has `source_use.py`, which
  tells how much students take from the source.
- DIR of `--out` holds the data (`data/`) and each run's folder (`lstm_dlf_1/seed-1/risk/lr-0.3/`), with its
  checkpoints and logs. `warm/` and `teacher/` of a seed serve all its students.
- `results/table3/` holds a small record for each run (`lstm_dlf_1/seed-1/risk/lr-0.3.json`), without any text of the
  corpus, and beside it the statistics of BLEU for each test sentence (`.npy`), from which the report tests pairs of
  runs. A run with a record is never run again, and a record that was made by another command is refused.

A table goes through its work so that it is useful wherever it stops: first every loss at its first setting, then their
other settings (first seed of the first row only; the best dev BLEU decides), then the other seeds, then the other rows.
Test is decoded for chosen settings alone, once.

Quick tests: `pytest tests/experiments`; one that trains, kills and resumes: `pytest -m slow tests/experiments`.
"""
