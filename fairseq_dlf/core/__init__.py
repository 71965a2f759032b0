"""The method in plain PyTorch: knows neither fairseq nor a command line."""
