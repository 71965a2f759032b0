"""Speed, memory and error of the hypergradient, measured: `python -m benchmarks --help`."""
