"""Training of teachers in fairseq."""
