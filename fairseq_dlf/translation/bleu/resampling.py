"""How often, and from which seed, statistics of sentences are drawn anew where nothing else is asked for."""

TRIALS = 10_000
SEED = 12345
