"""BLEU of a student: by sentence and corpus, expected, and along its run."""
