"""Training students in fairseq on the dynamic loss."""
