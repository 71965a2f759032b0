"""Everything that needs a GPU, in one command: checks of products, kernels and storage, and whole runs."""
