"""Commands beside fairseq's: comparing systems, averaging checkpoints."""
