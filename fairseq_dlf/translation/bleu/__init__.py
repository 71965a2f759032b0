"""BLEU of a student: of sentences and corpora, expected, and along its run."""
