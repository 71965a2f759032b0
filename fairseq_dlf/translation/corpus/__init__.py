"""Preparing parallel text for fairseq."""
