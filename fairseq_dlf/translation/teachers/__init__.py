"""Training teachers in fairseq."""
