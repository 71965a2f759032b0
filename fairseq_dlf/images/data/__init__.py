"""Image data sets, and batches of them."""
